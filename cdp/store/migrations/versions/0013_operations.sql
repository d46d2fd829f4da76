-- Landing files as they were first registered: the day of a file is the day it landed, whenever it is read.
create table store.landed_files (
    source text not null,
    file text not null,                             -- path below landing/<source>
    size bigint not null,
    modified_ns bigint not null,                    -- of the file system; with the size it tells a file that was replaced
    landed_at timestamptz not null,
    read_at timestamptz,                            -- null until a run has looked at it
    primary key (source, file)
);
create index on store.landed_files (landed_at) where read_at is null;
