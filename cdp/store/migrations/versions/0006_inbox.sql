-- Events that channels sent: durable when they are acknowledged, handed to the source's landing folder by the next run.
create table store.inbox (
    inbox_id bigint generated always as identity primary key,
    source text not null,
    message_id text not null,
    received_at timestamptz not null,
    payload text,                                      -- none once it is in a landing file
    unique (source, message_id)
);
create index on store.inbox (source, inbox_id) where payload is not null;
alter table store.api_keys add column source text;     -- the source that a key's events belong to
