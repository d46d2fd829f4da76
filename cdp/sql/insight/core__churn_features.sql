-- Grain: customer × cutoff. What was known of a customer at the end of a day, and for cutoffs of the past whether nothing was bought in
-- the horizon after it (`is_silent`). Whoever was silent for four horizons already is not asked about. Cutoffs to learn from
-- hold a fixed sample of customers where there are many.
with days as (
    select
        p.customer_id, p.day, sum(p.orders) as orders, sum(p.lines) as lines, sum(case when p.currency = t.currency then p.sales + p.returned else 0 end) as net,
        sum(case when p.returned < 0 then 1 else 0 end) as returns, sum(case when p.currency = t.currency then p.discounted else 0 end) as discounted,
        sum(case when p.currency = t.currency then p.sales else 0 end) as sales
    from core__purchase_days as p
    cross join core__insight_terms as t
    group by p.customer_id, p.day
),

summed as (
    select
        d.customer_id, c.cutoff, c.role, min(h.days) as horizon,
        date_diff('day', max(case when d.orders > 0 and d.day <= c.cutoff then d.day end), c.cutoff) as recency_days,
        date_diff('day', min(case when d.orders > 0 and d.day <= c.cutoff then d.day end), c.cutoff) as age_days,
        sum(case when d.orders > 0 and d.day <= c.cutoff then 1 else 0 end) as days,
        sum(case when d.day <= c.cutoff then d.orders else 0 end) as orders, sum(case when d.day <= c.cutoff then d.lines else 0 end) as lines,
        sum(case when d.day <= c.cutoff then d.net else 0 end) as net,
        sum(case when d.orders > 0 and d.day <= c.cutoff and d.day > c.month_from then 1 else 0 end) as days_month,
        sum(case when d.orders > 0 and d.day <= c.cutoff and d.day > c.horizon_from then 1 else 0 end) as days_horizon,
        sum(case when d.orders > 0 and d.day <= c.horizon_from and d.day > c.before_from then 1 else 0 end) as days_before,
        sum(case when d.day <= c.cutoff and d.day > c.horizon_from then d.net else 0 end) as net_horizon,
        count(distinct case when d.orders > 0 and d.day <= c.cutoff then substring(cast(d.day as varchar), 1, 7) end) as months,
        sum(case when d.day <= c.cutoff then d.returns else 0 end) as returns,
        sum(case when d.day <= c.cutoff and d.day > c.horizon_from then d.returns else 0 end) as returns_horizon,
        sum(case when d.day <= c.cutoff then d.discounted else 0 end) as discounted,
        sum(case when d.day <= c.cutoff then d.sales else 0 end) as sales,
        sum(case when d.orders > 0 and d.day > c.cutoff and d.day <= c.label_until then 1 else 0 end) as days_after
    from days as d
    join core__churn_cutoffs as c on substring(md5(d.customer_id), 1, 4) < c.sample
    cross join core__purchase_horizon as h
    group by d.customer_id, c.cutoff, c.role, c.month_from, c.horizon_from, c.before_from
),

tickets as (
    select
        k.customer_id, c.cutoff, count(*) as tickets,
        -- as it was known then: the promise had ended, and nobody had closed it
        sum(case when k.hours > k.promised_hours and date_diff('second', k.opened_on, c.cutoff) / 3600.0 > k.promised_hours then 1 else 0 end) as late_tickets
    from (
        select k.customer_id, k.hours, k.promised_hours, cast(k.opened_at at time zone t.timezone as date) as opened_on
        from core__tickets as k
        cross join core__insight_terms as t
        where k.customer_id is not null
    ) as k
    join core__churn_cutoffs as c on k.opened_on <= c.cutoff and k.opened_on > c.horizon_from
    group by k.customer_id, c.cutoff
),

answers as (
    select
        a.customer_id, c.cutoff, sum(case when a.grade in ('unsatisfied', 'detractor') then 1 else 0 end) as bad_answers
    from (
        select a.customer_id, a.grade, cast(a.occurred_at at time zone t.timezone as date) as answered_on
        from core__survey_answers as a
        cross join core__insight_terms as t
        where a.customer_id is not null
    ) as a
    join core__churn_cutoffs as c on a.answered_on <= c.cutoff and a.answered_on > c.horizon_from
    group by a.customer_id, c.cutoff
)

select
    s.customer_id, s.cutoff, s.role, s.horizon, s.recency_days, s.age_days, s.days, s.orders, s.lines, cast(s.net as double) as net, s.days_month, s.days_horizon,
    s.days_before, cast(s.net_horizon as double) as net_horizon, s.months, s.returns, s.returns_horizon,
    coalesce(cast(s.discounted as double) / nullif(cast(s.sales as double), 0), 0) as discounted_share,
    coalesce(k.tickets, 0) as tickets, coalesce(k.late_tickets, 0) as late_tickets, coalesce(a.bad_answers, 0) as bad_answers,
    case when s.role = 'score' then null when s.days_after = 0 then true else false end as is_silent
from summed as s
left join tickets as k on k.customer_id = s.customer_id and k.cutoff = s.cutoff
left join answers as a on a.customer_id = s.customer_id and a.cutoff = s.cutoff
where s.days > 0 and s.recency_days <= 4 * s.horizon
