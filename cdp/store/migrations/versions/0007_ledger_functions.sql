-- In the order in which debits draw, so that a debit reads what it needs and stops.
drop index store.ledger_lots_account_id_expires_at_idx;
create index on store.ledger_lots (account_id, expires_at, occurred_at, lot_id);

-- The customers of records, locked in id order, with all that a posting looks at. Rows are told apart by `what`:
-- record (record, customer), account (record, account, number, balance, latest fact, version), lot, deficit, held, posted.
create function store.ledger_open(
    records text[], of_programme text, of_unit text, at_time timestamptz, asked uuid[], needed bigint
) returns table (
    what text, a text, b text, account text, n bigint, m bigint, t timestamptz, opened timestamptz, ends timestamptz, c text, d text
) language plpgsql set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
    set enable_bitmapscan = off set enable_sort = off as $$
declare
    ours uuid[];
    mine text[];
    own text[];
    left_over bigint;
    drawn record;
begin
    loop  -- a statement sees what was committed while the one before it waited
        ours := array(
            select customer_id from store.customers
            where customer_id in (select s.customer_id from store.assignment s where s.record_id = any(records))
            order by customer_id for no key update
        );
        exit when not exists (select from store.assignment s where s.record_id = any(records) and s.customer_id <> all(ours));
    end loop;
    mine := array(select s.record_id from store.assignment s where s.customer_id = any(ours));
    own := array(
        select l.account_id from store.ledger_accounts l where l.record_id = any(mine) and l.programme = of_programme and l.unit = of_unit
    );
    return query
        select 'record', s.record_id, s.customer_id::text, null::text, null::bigint, null::bigint, null::timestamptz, null::timestamptz, null::timestamptz, null::text, null::text
        from store.assignment s where s.customer_id = any(ours);
    if cardinality(own) > 0 then
        return query
            select 'account', l.record_id, null::text, l.account_id, l.account_no, l.balance, l.last_at, null::timestamptz, null::timestamptz, l.version::text, null::text
            from store.ledger_accounts l where l.account_id = any(own);
        if needed is null or at_time is null then
            return query
                select 'lot', l.lot_id::text, l.transaction_id::text, l.account_id, l.amount, l.remaining, l.occurred_at, l.opened_at, l.expires_at, l.order_id, l.origin::text
                from store.ledger_lots l where l.account_id = any(own) and l.remaining > 0;
        elsif needed > 0 and cardinality(own) = 1 then  -- those that a debit draws from, in its order, and those that have ended
            left_over := needed;
            for drawn in select * from store.ledger_lots l where l.account_id = own[1] and l.remaining > 0 order by l.expires_at, l.occurred_at, l.lot_id loop
                exit when left_over <= 0 and (drawn.expires_at is null or drawn.expires_at > at_time);
                left_over := left_over - drawn.remaining;
                what := 'lot'; a := drawn.lot_id; b := drawn.transaction_id; account := drawn.account_id; n := drawn.amount; m := drawn.remaining;
                t := drawn.occurred_at; opened := drawn.opened_at; ends := drawn.expires_at; c := drawn.order_id; d := drawn.origin;
                return next;
            end loop;
        elsif needed > 0 then
            return query
                select 'lot', l.lot_id::text, l.transaction_id::text, l.account_id, l.amount, l.remaining, l.occurred_at, l.opened_at, l.expires_at, l.order_id, l.origin::text
                from (
                    select o.*, sum(o.remaining) over (order by coalesce(o.expires_at, 'infinity'), o.occurred_at, o.lot_id) - o.remaining as before
                    from store.ledger_lots o where o.account_id = any(own) and o.remaining > 0
                ) as l where l.before < needed or l.expires_at <= at_time;
        else
            return query
                select 'lot', l.lot_id::text, l.transaction_id::text, l.account_id, l.amount, l.remaining, l.occurred_at, l.opened_at, l.expires_at, l.order_id, l.origin::text
                from store.ledger_lots l where l.account_id = any(own) and l.expires_at <= at_time and l.remaining > 0;
        end if;
        return query
            select 'deficit', null::text, f.transaction_id::text, f.account_id, f.amount, null::bigint, f.occurred_at, null::timestamptz, null::timestamptz, null::text, null::text
            from store.ledger_deficits f where f.account_id = any(own);
    end if;
    if at_time is not null then
        return query
            select 'held', null::text, null::text, h.record_id, h.amount, null::bigint, null::timestamptz, null::timestamptz, null::timestamptz, null::text, null::text
            from store.ledger_holds h
            where h.record_id = any(mine)
                and h.programme = of_programme and h.unit = of_unit and h.resolved_at is null and h.expires_at > at_time;
    end if;
    if cardinality(asked) > 0 then
        return query
            select distinct 'posted', null::text, e.transaction_id::text, null::text, null::bigint, null::bigint, null::timestamptz, null::timestamptz, null::timestamptz, null::text, null::text
            from store.ledger_entries e where e.transaction_id = any(asked);
    end if;
end $$;

-- Legs, the snapshots of their accounts, and what is derived, written together: `parts` names those there are.
create function store.ledger_write(
    at_time timestamptz, parts jsonb
) returns void language plpgsql set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    if parts ? 'legs' then
        insert into store.ledger_entries (entry_id, account_id, kind, amount, occurred_at, posted_at, posting_key, revision, order_id, original_order_id,
            programme_version, reason, actor, transaction_id, contra, scope, reverses, expires_at, details)
        select entry_id, account_id, kind, amount, occurred_at, at_time, posting_key, revision, order_id, original_order_id,
            programme_version, reason, actor, transaction_id, contra, scope, reverses, expires_at, details
        from jsonb_to_recordset(parts -> 'legs') as x (entry_id uuid, account_id text, kind text, amount bigint, occurred_at timestamptz, posting_key text,
            revision integer, order_id text, original_order_id text, programme_version text, reason text, actor text, transaction_id uuid, contra text,
            scope bigint[], reverses text, expires_at timestamptz, details jsonb);
    end if;
    if parts ? 'moved' then
        update store.ledger_accounts t set balance = t.balance + x.amount, version = t.version + 1, last_at = greatest(t.last_at, x.last_at)
        from jsonb_to_recordset(parts -> 'moved') as x (account_id text, amount bigint, last_at timestamptz) where t.account_id = x.account_id;
    end if;
    if parts ? 'lots' then
        insert into store.ledger_lots (lot_id, transaction_id, account_id, amount, remaining, occurred_at, opened_at, expires_at, order_id, origin)
        select * from jsonb_to_recordset(parts -> 'lots') as x (lot_id uuid, transaction_id uuid, account_id text, amount bigint, remaining bigint,
            occurred_at timestamptz, opened_at timestamptz, expires_at timestamptz, order_id text, origin uuid);
    end if;
    if parts ? 'drawn' then
        update store.ledger_lots t set remaining = x.remaining
        from jsonb_to_recordset(parts -> 'drawn') as x (lot_id uuid, remaining bigint) where t.lot_id = x.lot_id;
    end if;
    if parts ? 'allocations' then
        insert into store.ledger_allocations
        select * from jsonb_to_recordset(parts -> 'allocations') as x (transaction_id uuid, lot_id uuid, amount bigint);
    end if;
    if parts ? 'deficits' then
        insert into store.ledger_deficits
        select * from jsonb_to_recordset(parts -> 'deficits') as x (transaction_id uuid, account_id text, amount bigint, occurred_at timestamptz);
    end if;
    if parts ? 'smaller' then
        update store.ledger_deficits t set amount = x.amount
        from jsonb_to_recordset(parts -> 'smaller') as x (transaction_id uuid, account_id text, amount bigint)
        where t.transaction_id = x.transaction_id and t.account_id = x.account_id;
    end if;
    if parts ? 'paid' then
        delete from store.ledger_deficits t using jsonb_to_recordset(parts -> 'paid') as x (transaction_id uuid, account_id text)
        where t.transaction_id = x.transaction_id and t.account_id = x.account_id;
    end if;
    if parts ? 'told' then
        insert into store.changes (type, customer_id, details, at) select 'balance.changed', told::uuid, '{}', at_time from jsonb_array_elements_text(parts -> 'told') as x (told);
    end if;
end $$;
