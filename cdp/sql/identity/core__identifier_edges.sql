-- Grain: pair of contact records × identifier type. Records that share a value and can be one person are joined in a
-- star around the first of them. Values that more people hold than the rules allow join only records of one given name.
-- Changes are told by: left_id, right_id
with sized as (
    select
        h.type, h.value, h.record_id, h.evidence, p.person_no, coalesce(g.people, 1) as people,
        coalesce(g.names, 1) as names, coalesce(g.accounts, 0) as accounts
    from core__identifier_holders as h
    left join core__identifier_groups as g on g.type = h.type and g.value = h.value
    left join core__identifier_people as p on p.type = h.type and p.value = h.value and p.given_key = h.given_key
),

grouped as (
    select s.type, s.value, s.record_id, s.evidence, s.people,
        case when s.people <= l.people then 0 else s.person_no end as person_no
    from sized as s
    join core__identifier_limits as l on l.type = s.type
    where s.names <= l.names and (s.type <> 'browser' or s.accounts <= l.accounts)
),

stars as (
    select
        type, value, people, evidence, record_id,
        min(record_id) over (partition by type, value, person_no) as centre
    from grouped
    where person_no is not null
)

select
    least(centre, record_id) as left_id, greatest(centre, record_id) as right_id,
    case when type = 'order' then 'order_reference' else type end as type,
    case when type = 'order' then 'rule' else 'exact' end as kind,
    cast(case when type = 'order' then 12 else 20 end as double) as weight,
    'rules' as model_version,
    cast(to_json({
        'identifier': type, 'values_shared': count(distinct value), 'people': max(people),
        'values': string_agg(distinct value, '|' order by value)
    }) as varchar) as evidence
from stars
where centre <> record_id
group by least(centre, record_id), greatest(centre, record_id), type
