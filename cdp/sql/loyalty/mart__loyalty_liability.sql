-- Grain: unit × month in which units were earned. What became of them, what is still open and is expected to cost.
-- Every vintage adds up: issued = redeemed + taken back + expired + outstanding; what a return gave back lies in its own vintage.
with drawn as (
    select
        lot_id,
        sum(case when contra = 'redeemed' then amount else 0 end) as redeemed,
        sum(case when contra = 'expired' then amount else 0 end) as expired,
        sum(case when contra not in ('redeemed', 'expired') then amount else 0 end) as taken_back
    from core__ledger_draws
    group by lot_id
), lots as (
    select
        l.programme, l.unit, substring(cast(l.earned_at as varchar), 1, 7) as vintage, l.remaining,
        case when l.is_restored then 0 else l.amount end as issued,
        coalesce(d.redeemed, 0) - case when l.is_restored then l.amount else 0 end as redeemed,
        coalesce(d.expired, 0) as expired,
        coalesce(d.taken_back, 0) as taken_back
    from core__ledger_lots as l
    left join drawn as d on d.lot_id = l.lot_id
)
select
    l.programme, l.unit, l.vintage,
    sum(l.issued) as issued, sum(l.redeemed) as redeemed, sum(l.taken_back) as taken_back, sum(l.expired) as expired, sum(l.remaining) as outstanding,
    min(t.currency) as currency,
    sum(l.remaining) * min(t.cost) / min(t.parts) as at_full_cost,
    sum(l.remaining) * min(t.cost) / min(t.parts) * min(t.redemption_rate) as liability
from lots as l
join core__loyalty_terms as t on t.programme = l.programme and t.unit = l.unit
group by l.programme, l.unit, l.vintage
