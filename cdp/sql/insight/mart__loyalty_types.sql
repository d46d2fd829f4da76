-- Grain: customer that bought. Loyalty on two axes: behaviour (high: bought lately, and often) and attitude (what was said). Composite is
-- high on both; spurious buys often but speaks ill of us, or buys mostly under discounts; behavioural buys often and is neutral, or
-- nobody knows; attitudinal speaks for us (reviews, shares, referrals) and buys little; latent thinks well of us and buys little.
-- Unknown attitude is not low: who buys little and never said anything is `unknown`.
with placed as (
    select
        p.customer_id, m.state, p.days, p.discounted_share,
        case when m.state in ('active', 'reactivated') and p.days >= t.often then 'high' else 'low' end as behaviour,
        coalesce(a.attitude, 'unknown') as attitude, coalesce(a.advocacy, 0) as advocacy,
        case when p.discounted_share > t.spurious_discount then true else false end as is_discount_bound
    from core__customer_purchases as p
    cross join core__insight_terms as t
    join core__customer_months as m on m.customer_id = p.customer_id and m.number = t.newest_month
    left join core__attitudes as a on a.customer_id = p.customer_id
    where p.channel = 'all'
)

select
    customer_id, behaviour, attitude, is_discount_bound, advocacy,
    case
        when behaviour = 'high' and (attitude = 'low' or is_discount_bound) then 'spurious'
        when behaviour = 'high' and attitude = 'high' then 'composite'
        when behaviour = 'high' then 'behavioural'
        when attitude = 'high' and advocacy > 0 then 'attitudinal'
        when attitude = 'high' then 'latent'
        when attitude = 'unknown' then 'unknown'
        else 'none'
    end as loyalty,
    'bought on ' || cast(days as varchar) || ' days, now ' || state || '; attitude ' || attitude
    || case when is_discount_bound then '; buys mostly under discounts' else '' end
    || case when advocacy > 0 then '; spoke for us ' || cast(advocacy as varchar) || ' times' else '' end as evidence
from placed
