-- Grain: measure of the programme, over the year before the run. Descriptive: what members do, not what the programme caused.
with terms as (
    select min(programme) as programme, min(currency) as currency, min(year_ago) as year_ago, min(as_of) as as_of from core__loyalty_terms
), members as (
    select customer_id from core__customers where kind = 'known'
), bought as (
    select c.customer_id,
        sum(case when o.kind = 'sale' then 1 else 0 end) as orders,
        sum(case when o.currency = t.currency then o.total else 0 end) as revenue
    from core__orders as o
    join core__record_customers as c on c.record_id = o.record_id
    join members as m on m.customer_id = c.customer_id
    cross join terms as t
    where o.ordered_at > t.year_ago and o.ordered_at <= t.as_of
    group by c.customer_id
), moved as (
    select c.customer_id,
        sum(case when e.kind = 'earn' then e.amount else 0 end) as earned,
        sum(case when e.contra = 'redeemed' then -e.amount else 0 end) as redeemed,
        sum(case when e.contra = 'redeemed' then -e.amount * u.cost / u.parts else 0 end) as cost
    from core__ledger_entries as e
    join core__record_customers as c on c.record_id = e.record_id
    join core__loyalty_terms as u on u.programme = e.programme and u.unit = e.unit and u.is_redeemable
    cross join terms as t
    where e.occurred_at > t.year_ago and e.occurred_at <= t.as_of
    group by c.customer_id
), people as (
    select
        m.customer_id, coalesce(b.orders, 0) as orders, coalesce(b.revenue, 0) as revenue, coalesce(v.earned, 0) as earned, coalesce(v.redeemed, 0) as redeemed,
        coalesce(v.cost, 0) as cost, coalesce(r.height, 0) as height
    from members as m
    left join bought as b on b.customer_id = m.customer_id
    left join moved as v on v.customer_id = m.customer_id
    left join core__customer_tiers as r on r.customer_id = m.customer_id
), sums as (
    select
        cast(count(*) as double) as members,
        cast(sum(case when orders > 0 then 1 else 0 end) as double) as active,
        cast(sum(case when orders > 1 then 1 else 0 end) as double) as again,
        cast(sum(case when redeemed > 0 then 1 else 0 end) as double) as redeemers,
        cast(sum(case when height > 0 then 1 else 0 end) as double) as raised,
        cast(sum(earned) as double) as earned,
        cast(sum(redeemed) as double) as redeemed,
        cast(sum(cost) as double) as cost,
        cast(sum(revenue) as double) as revenue,
        cast(sum(case when redeemed > 0 then revenue else 0 end) as double) as revenue_of_redeemers
    from people
)
select 'members' as measure, members as value from sums
union all select 'active_share', active / nullif(members, 0) from sums
union all select 'repeat_rate', again / nullif(active, 0) from sums
union all select 'redeemer_share', redeemers / nullif(members, 0) from sums
union all select 'tier_share', raised / nullif(members, 0) from sums
union all select 'burn_rate', redeemed / nullif(earned, 0) from sums
union all select 'cost', cost from sums
union all select 'revenue', revenue from sums
union all select 'cost_rate', cost / nullif(revenue, 0) from sums
union all select 'revenue_per_redeemer', revenue_of_redeemers / nullif(redeemers, 0) from sums
union all select 'revenue_per_other_active', (revenue - revenue_of_redeemers) / nullif(active - redeemers, 0) from sums
