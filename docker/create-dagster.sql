-- Dagster's own database, beside the store's: its schema is Dagster's to migrate.
create database dagster owner cdp;
