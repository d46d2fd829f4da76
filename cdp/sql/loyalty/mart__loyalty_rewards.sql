-- Grain: reward × unit it costs. What a unit is worth in it, and how many members could take it now: a reward nobody can afford is hollow.
with members as (
    select count(*) as members from core__customers where kind = 'known'
), able as (
    select r.reward, r.unit, count(*) as can_afford
    from core__loyalty_rewards as r
    join core__loyalty_balances as b on b.programme = r.programme and b.unit = r.unit and b.balance >= r.cost
    join core__customers as c on c.customer_id = b.customer_id and c.kind = 'known'
    group by r.reward, r.unit
)
select
    r.programme, r.reward, r.kind, r.value, r.unit, r.cost, r.min_level, r.stock, r.taken,
    cast(try_cast(r.value as decimal(18, 4)) as double) * min(t.parts) over (partition by r.unit) / r.cost as value_per_unit,
    coalesce(a.can_afford, 0) as can_afford,
    m.members,
    cast(coalesce(a.can_afford, 0) as double) / nullif(m.members, 0) as share
from core__loyalty_rewards as r
join core__loyalty_terms as t on t.programme = r.programme and t.unit = r.unit
cross join members as m
left join able as a on a.reward = r.reward and a.unit = r.unit
