-- Grain: customer × month, of the last 13 months, from the first purchase on. The loyalty state at the month's end (for the month
-- of the run: at its time). A horizon is the time without a purchase that counts as churn: silent for up to one horizon is
-- bought lately (new, reactivated, active, occasional), up to two is at risk, up to four is dormant, longer is churned.
with months as (
    select number, month, last_day from core__insight_months
    union all
    select 0 as number, null as month, null as last_day  -- everything before
),

bought as (
    select p.customer_id, coalesce(m.number, 0) as number, min(p.day) as first_day, max(p.day) as last_day, count(distinct p.day) as days
    from core__purchase_days as p
    left join core__insight_months as m on m.month = substring(cast(p.day as varchar), 1, 7)
    where p.orders > 0
    group by p.customer_id, coalesce(m.number, 0)
),

people as (
    select customer_id, min(number) as first_number from bought group by customer_id
),

grid as (
    select p.customer_id, m.number, m.month, m.last_day as month_end, b.first_day, b.last_day, b.days
    from people as p
    join months as m on m.number >= p.first_number
    left join bought as b on b.customer_id = p.customer_id and b.number = m.number
),

filled as (
    select
        customer_id, number, month, month_end, first_day, days,
        max(last_day) over (partition by customer_id order by number rows between unbounded preceding and current row) as seen_day,
        max(last_day) over (partition by customer_id order by number rows between unbounded preceding and 1 preceding) as before_day,
        sum(coalesce(days, 0)) over (partition by customer_id order by number rows between unbounded preceding and current row) as days_so_far
    from grid
)

select
    f.customer_id, f.month, f.number, f.days_so_far,
    case
        when date_diff('day', f.seen_day, f.month_end) > 4 * h.days then 'churned'
        when date_diff('day', f.seen_day, f.month_end) > 2 * h.days then 'dormant'
        when date_diff('day', f.seen_day, f.month_end) > h.days then 'at_risk'
        when f.days_so_far = 1 then 'new'
        when date_diff('day', f.before_day, f.first_day) > 2 * h.days then 'reactivated'
        when f.days_so_far >= t.often then 'active'
        else 'occasional'
    end as state,
    case when f.days > 0 then true else false end as has_bought
from filled as f
cross join core__purchase_horizon as h
cross join core__insight_terms as t
where f.number > 0
