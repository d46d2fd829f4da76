-- What came in is seen at once: events wait here for a moment, orders and tickets as well; each says its source's row.
alter table store.inbox add column live_at timestamptz;          -- when it was looked at for the timeline
update store.inbox set live_at = received_at;
create index on store.inbox (inbox_id) where live_at is null and payload is not null;

-- People are looked up by the numbers that they say on the phone.
create index on store.orders ((details ->> 'order_key'));
create index on store.contact_records (source_key) where kind = 'ticket';
