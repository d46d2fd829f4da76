-- Grain: model. Its newest card: what it learned from, how it did on data it had not seen, whether to trust it.
select * from ops__churn_card
union all select * from ops__value_card
union all select * from ops__feedback_card
union all select * from ops__clusters_card
union all select * from ops__survival_card
union all select * from ops__retention_card
union all select * from ops__states_card
