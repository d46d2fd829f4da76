-- As 0007 has it, but for the customers: looked up by their ids. With sorting off, asking for those of some records in the order
-- of their ids went through all customers there are, at every posting.

-- The customers of records, locked in id order, with all that a posting looks at. Rows are told apart by `what`:
-- record (record, customer), account (record, account, number, balance, latest fact, version), lot, deficit, held, posted.
create or replace function store.ledger_open(
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
        ours := array(select s.customer_id from store.assignment s where s.record_id = any(records));
        ours := array(select c.customer_id from store.customers c where c.customer_id = any(ours) order by c.customer_id for no key update);
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
