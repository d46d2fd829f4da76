-- The ways by which the last message of an alert could not be sent yet.
alter table store.alerts add column unsent text[] not null default '{}';
