-- Grain: month × state before × state after. How many customers moved from one month's end to the next; whoever bought for the first
-- time comes from `prospect`. Every month adds up to the customers there were, and those that came.
with moved as (
    select
        month, number, state,
        coalesce(lag(state) over (partition by customer_id order by number), 'prospect') as state_before,
        lag(number) over (partition by customer_id order by number) as number_before
    from core__customer_months
)

select month, state_before, state, count(*) as customers
from moved
where number > 1
group by month, state_before, state
