-- The public views over stored profiles. They are the same over a file, a block, a directory of blocks or a
-- running server, and may be relied on: columns are added, never removed or changed within a major version.
--
-- Columns that end in `_id` are hashes of content, equal in all blocks and stores, so it is right to join
-- and group by them. Columns that start with `_` number things inside one block: join them only together
-- with `_block` (and `_part`, where there is one).
--
-- The comment above a column is its documentation. docs/sql.md and `flameduck schema` are made from it.

-- Blocks: the immutable units that a store is made of. A file that is no store is one block.
CREATE OR REPLACE VIEW blocks AS
SELECT
    -- The block's ULID, the name of its directory. It starts with the time at which it was made.
    b.ulid::VARCHAR AS ulid,
    -- The tenant that owns it.
    b.tenant::VARCHAR AS tenant,
    -- How often its profiles were compacted; 0 for a block that was flushed from memory.
    b.level::INTEGER AS level,
    -- Time of its first profile, UTC.
    make_timestamp_ns(b.min_ts)::TIMESTAMP_NS AS first_time,
    -- Time of its last profile, UTC.
    make_timestamp_ns(b.max_ts)::TIMESTAMP_NS AS last_time,
    -- Rows in its profiles.
    b.profiles::UBIGINT AS profiles,
    -- Rows in its samples.
    b.samples::UBIGINT AS samples,
    -- Series in it.
    b.series::UBIGINT AS series,
    -- Bytes of its files.
    b.size_bytes::UBIGINT AS size_bytes,
    -- ULIDs of the blocks that it was compacted from.
    b.parents::VARCHAR[] AS parents,
    -- What it was first made from: writers and their generations, or ingests.
    b.sources::VARCHAR[] AS sources,
    -- Version of the format of its files.
    b.version::INTEGER AS format_version,
    -- The number that other views call `_block`.
    b.block::UBIGINT AS _block
FROM _blocks AS b;

-- Profiles: one row for each profile and sample type, also when it has no samples. A profile that is in
-- several blocks, because a client tried again or because of replicas, is here once.
CREATE OR REPLACE VIEW profiles AS
SELECT
    -- When the profile was taken, UTC.
    make_timestamp_ns(p.ts)::TIMESTAMP_NS AS time,
    -- The same in nanoseconds since 1970.
    p.ts::BIGINT AS ts,
    -- Identity of the profile. The same profile that is stored twice has one identity.
    p.profile_id::UUID AS profile_id,
    -- Identity of the upload: the sample types of one uploaded profile share it.
    coalesce(p.upload_id, p.profile_id)::UUID AS upload_id,
    -- Identity of its series: the label set.
    i.series_id::UBIGINT AS series_id,
    -- `name:sample type:sample unit:period type:period unit`.
    i.profile_type::VARCHAR AS profile_type,
    -- The label `service_name`.
    i.service_name::VARCHAR AS service_name,
    -- All labels of the series. `labels['region']` is one of them, or NULL.
    i.labels::MAP(VARCHAR, VARCHAR) AS labels,
    -- Rows that it has in `samples`.
    p.n::UINTEGER AS samples,
    -- Sum of its samples' values, in the unit of the profile type.
    p.total::BIGINT AS total,
    -- How long it was recorded, nanoseconds; 0 when it does not say.
    p.duration_ns::BIGINT AS duration_ns,
    -- Units of the period type between two samples; 0 when it does not say.
    p.period::BIGINT AS period,
    -- How it was read: `verbatim` or `pyroscope`.
    CASE p.rules WHEN 0 THEN 'verbatim' WHEN 1 THEN 'pyroscope' END::VARCHAR AS rules,
    -- The sample type that the profile asks to be shown first; empty when it does not say.
    p.default_sample_type::VARCHAR AS default_sample_type,
    -- Functions to leave out, a regular expression; empty when it does not say.
    p.drop_frames::VARCHAR AS drop_frames,
    -- Exceptions from `drop_frames`.
    p.keep_frames::VARCHAR AS keep_frames,
    -- Free text in the profile.
    p.comments::VARCHAR[] AS comments,
    -- Where the profile says that its documentation is.
    p.doc_url::VARCHAR AS doc_url,
    -- The block it is in.
    p.block::UBIGINT AS _block,
    -- Its samples are the rows of this block with `_row` from here on, `samples` of them.
    p.start::UBIGINT AS _start
FROM _profiles AS p
LEFT JOIN _index AS i
    ON i.block = p.block
    AND i.series = p.series;

-- Samples: a stack and its value in one profile. Equal stacks of one profile are one row, and zero values
-- have none. Samples of a profile that is in several blocks are here once. Filter on `profile_type`, since
-- a sum over nanoseconds and bytes means nothing.
CREATE OR REPLACE VIEW samples AS
SELECT
    -- When the profile was taken, UTC.
    make_timestamp_ns(s.ts)::TIMESTAMP_NS AS time,
    -- The same in nanoseconds since 1970.
    s.ts::BIGINT AS ts,
    -- Identity of its series: the label set.
    i.series_id::UBIGINT AS series_id,
    -- `name:sample type:sample unit:period type:period unit`.
    i.profile_type::VARCHAR AS profile_type,
    -- The label `service_name`.
    i.service_name::VARCHAR AS service_name,
    -- All labels of the series. `labels['region']` is one of them, or NULL.
    i.labels::MAP(VARCHAR, VARCHAR) AS labels,
    -- Identity of the stack; equal stacks of all blocks share it.
    k.stack_id::UBIGINT AS stack_id,
    -- The value, in the unit of the profile type.
    s.value::BIGINT AS value,
    -- Labels of this sample alone; NULL when it has none. A text label has `str`, a number `num` and `unit`.
    l.labels::STRUCT("key" VARCHAR, str VARCHAR, num BIGINT, unit VARCHAR)[] AS sample_labels,
    -- The span that was active, or NULL: the number that its 8 bytes make, the first byte the least.
    s.span_id::UBIGINT AS span_id,
    -- The trace that was active, 16 bytes, or NULL: `trace_id = unhex('4bf9…')` finds one.
    s.trace_id::BLOB AS trace_id,
    -- The block it is in.
    s.block::UBIGINT AS _block,
    -- The part of the block: one service and profile name, whose stacks are numbered together.
    s.part::UINTEGER AS _part,
    -- Number of the stack in its part.
    s.stack::UINTEGER AS _stack,
    -- Row in the block's samples.
    s.file_row_number::BIGINT AS _row
FROM _samples AS s
-- Left joins, although nothing is ever missing: DuckDB runs them in half the time of inner ones here.
LEFT JOIN _index AS i
    ON i.block = s.block
    AND i.series = s.series
LEFT JOIN _stacks AS k
    ON k.block = s.block
    AND k.part = s.part
    AND k.stack = s.stack
-- Grouped by its key, which lets DuckDB drop the join from a query that does not ask for sample labels.
LEFT JOIN (
    SELECT block, labelset, any_value(labels) AS labels
    FROM _labelsets
    GROUP BY block, labelset
) AS l
    ON l.block = s.block
    AND l.labelset = s.labelset;

-- One leaf node for each distinct stack, whatever the number of blocks that have it.
CREATE OR REPLACE VIEW _leaves AS
SELECT k.stack_id, k.leaf.block, k.leaf.part, k.leaf.node
FROM (
    SELECT stack_id, min({'block': block, 'part': part, 'node': node}) AS leaf
    FROM _stacks
    GROUP BY stack_id
) AS k;

-- Stacks: which functions call which, down to the one that was running. One row for each distinct stack.
CREATE OR REPLACE VIEW stacks AS
WITH RECURSIVE
climb AS (
    SELECT k.stack_id, k.block, k.part, t.frame
    FROM _leaves AS k
    JOIN _stacktraces AS t USING (block, part, node)
    UNION ALL
    SELECT c.stack_id, c.block, c.part, f.parent
    FROM climb AS c
    JOIN _frames AS f USING (block, part, frame)
    WHERE f.parent <> 0
),
named AS (
    SELECT c.stack_id, list(n.name ORDER BY f.depth) AS functions
    FROM climb AS c
    JOIN _frames AS f USING (block, part, frame)
    JOIN _functions AS n USING (block, function)
    GROUP BY c.stack_id
)
SELECT
    -- Identity of the stack, from its locations. Joins with `samples`.
    s.stack_id::UBIGINT AS stack_id,
    -- Names of its functions, the outermost (root) first, inlined ones included. A location without
    -- symbols shows as `[file]`, or as `<unknown>` without a mapping.
    s.functions::VARCHAR[] AS functions,
    -- Number of functions.
    len(s.functions)::INTEGER AS depth,
    -- The innermost function: the one that was running.
    s.functions[-1]::VARCHAR AS leaf,
    -- The outermost function.
    s.functions[1]::VARCHAR AS root
FROM named AS s;

-- Frames: the functions of each stack with file, line and binary. One row for each stack and depth.
CREATE OR REPLACE VIEW frames AS
WITH RECURSIVE
climb AS (
    SELECT k.stack_id, k.block, k.part, k.node
    FROM _leaves AS k
    WHERE k.node <> 0
    UNION ALL
    SELECT c.stack_id, c.block, c.part, t.parent
    FROM climb AS c
    JOIN _stacktraces AS t USING (block, part, node)
    WHERE t.parent <> 0
),
located AS (
    SELECT c.stack_id, c.block, c.part, t.frame, l.location_id, l.mapping, l.address, l.lines
    FROM climb AS c
    JOIN _stacktraces AS t USING (block, part, node)
    JOIN _locations AS l USING (block, location)
),
-- A location without lines still is one frame, with the display name that its node has.
lined AS (
    SELECT *, unnest(range(greatest(len(lines), 1))) AS inner_first, lines[inner_first + 1] AS line
    FROM located
)
SELECT
    -- Identity of the stack.
    c.stack_id::UBIGINT AS stack_id,
    -- Position in the stack: 1 is the outermost function, so `stacks.functions[depth]` is this one.
    (f.depth - c.inner_first)::INTEGER AS depth,
    -- Name of the function.
    n.name::VARCHAR AS function,
    -- Name as the linker knows it; empty when the profile does not say.
    n.system_name::VARCHAR AS system_name,
    -- Source file; empty when the profile does not say.
    n.filename::VARCHAR AS filename,
    -- Line that was executing; 0 when the profile does not say.
    coalesce(c.line.line, 0)::BIGINT AS line,
    -- Column in that line; 0 when the profile does not say.
    coalesce(c.line.column, 0)::BIGINT AS "column",
    -- Whether the compiler put this function into the next outer one.
    (c.inner_first + 1 < len(c.lines))::BOOLEAN AS inlined,
    -- The binary or library; NULL when the profile does not say.
    m.filename::VARCHAR AS mapping,
    -- Address as the profile has it.
    c.address::UBIGINT AS address,
    -- Identity of the function; NULL for a location without symbols. Joins with `functions`.
    CASE WHEN NOT n.synthetic THEN n.function_id END::UBIGINT AS function_id,
    -- Identity of the location. Joins with `locations`.
    c.location_id::UBIGINT AS location_id
FROM lined AS c
JOIN _frames AS f USING (block, part, frame)
LEFT JOIN _functions AS n
    ON n.block = c.block
    AND n.function = coalesce(c.line.function, f.function)
LEFT JOIN _mappings AS m
    ON m.block = c.block
    AND m.mapping = c.mapping;

-- Functions: one row for each distinct function.
CREATE OR REPLACE VIEW functions AS
SELECT
    -- Identity of the function, from all that follows.
    f.function_id::UBIGINT AS function_id,
    -- Name as people read it.
    any_value(f.name)::VARCHAR AS name,
    -- Name as the linker knows it; empty when the profile does not say.
    any_value(f.system_name)::VARCHAR AS system_name,
    -- Source file; empty when the profile does not say.
    any_value(f.filename)::VARCHAR AS filename,
    -- First line of the function; 0 when the profile does not say.
    any_value(f.start_line)::BIGINT AS start_line
FROM _functions AS f
WHERE NOT f.synthetic
GROUP BY f.function_id;

-- One row for each distinct location: where it is in the block that is chosen to show it.
CREATE OR REPLACE VIEW _places AS
SELECT p.place.block, p.place.location
FROM (
    SELECT min({'block': block, 'location': location}) AS place
    FROM _locations
    GROUP BY location_id
) AS p;

-- Locations: places in a program. One row for each distinct location and line of it; several lines are
-- functions inlined into each other, and a location without symbols has one row without a function.
CREATE OR REPLACE VIEW locations AS
WITH
lined AS (
    SELECT l.*, unnest(range(greatest(len(l.lines), 1))) AS inner_first, l.lines[inner_first + 1] AS line
    FROM _locations AS l
    JOIN _places AS p USING (block, location)
)
SELECT
    -- Identity of the location.
    l.location_id::UBIGINT AS location_id,
    -- Number of the line: 0 is the innermost function.
    l.inner_first::INTEGER AS line_number,
    -- Name of the function; NULL without symbols.
    f.name::VARCHAR AS function,
    -- Source file; NULL without symbols.
    f.filename::VARCHAR AS filename,
    -- Line that was executing; NULL without symbols.
    l.line.line::BIGINT AS line,
    -- Column in that line; NULL without symbols.
    l.line.column::BIGINT AS "column",
    -- Address as the profile has it.
    l.address::UBIGINT AS address,
    -- Whether several functions with equal code may be meant.
    l.is_folded::BOOLEAN AS is_folded,
    -- The binary or library; NULL when the profile does not say.
    m.filename::VARCHAR AS mapping,
    -- Identity of the function; NULL without symbols.
    f.function_id::UBIGINT AS function_id,
    -- Identity of the mapping; NULL when the profile does not say.
    m.mapping_id::UBIGINT AS mapping_id
FROM lined AS l
LEFT JOIN _functions AS f
    ON f.block = l.block
    AND f.function = l.line.function
LEFT JOIN _mappings AS m
    ON m.block = l.block
    AND m.mapping = l.mapping;

-- Mappings: binaries and libraries that were loaded. One row for each distinct mapping.
CREATE OR REPLACE VIEW mappings AS
SELECT
    -- Identity of the mapping.
    m.mapping_id::UBIGINT AS mapping_id,
    -- Its file.
    any_value(m.filename)::VARCHAR AS filename,
    -- Identity of its build; empty when the profile does not say.
    any_value(m.build_id)::VARCHAR AS build_id,
    -- First address in memory.
    any_value(m.memory_start)::UBIGINT AS memory_start,
    -- Address after the last one in memory.
    any_value(m.memory_limit)::UBIGINT AS memory_limit,
    -- Where the first address is in the file.
    any_value(m.file_offset)::UBIGINT AS file_offset,
    -- Whether the profile has the names of its functions.
    any_value(m.has_functions)::BOOLEAN AS has_functions,
    -- Whether the profile has the names of its source files.
    any_value(m.has_filenames)::BOOLEAN AS has_filenames,
    -- Whether the profile has line numbers.
    any_value(m.has_line_numbers)::BOOLEAN AS has_line_numbers,
    -- Whether the profile has inlined functions.
    any_value(m.has_inline_frames)::BOOLEAN AS has_inline_frames
FROM _mappings AS m
GROUP BY m.mapping_id;

-- Series: the distinct label sets, each with its profile type, and how much there is of each.
CREATE OR REPLACE VIEW series AS
WITH
counted AS (
    SELECT
        p.block,
        p.series,
        min(p.ts) AS min_ts,
        max(p.ts) AS max_ts,
        count(*) AS profiles,
        sum(p.n)::UBIGINT AS samples,
        sum(p.total)::BIGINT AS total
    FROM _profiles AS p
    GROUP BY p.block, p.series
)
SELECT
    -- Identity of the series: the hash of its labels.
    i.series_id::UBIGINT AS series_id,
    -- `name:sample type:sample unit:period type:period unit`.
    any_value(i.profile_type)::VARCHAR AS profile_type,
    -- The label `service_name`.
    any_value(i.service_name)::VARCHAR AS service_name,
    -- All its labels.
    any_value(i.labels)::MAP(VARCHAR, VARCHAR) AS labels,
    -- Time of its first profile, UTC.
    make_timestamp_ns(min(c.min_ts))::TIMESTAMP_NS AS first_time,
    -- Time of its last profile, UTC.
    make_timestamp_ns(max(c.max_ts))::TIMESTAMP_NS AS last_time,
    -- Number of its profiles.
    sum(c.profiles)::UBIGINT AS profiles,
    -- Number of its samples.
    sum(c.samples)::UBIGINT AS samples,
    -- Sum of its samples' values, in the unit of the profile type.
    sum(c.total)::BIGINT AS total
FROM _index AS i
JOIN counted AS c USING (block, series)
GROUP BY i.series_id;

-- Labels: one row for each series and label of it.
CREATE OR REPLACE VIEW labels AS
WITH
distinct_series AS (
    SELECT series_id, any_value(labels) AS labels
    FROM _index
    GROUP BY series_id
),
pairs AS (
    SELECT series_id, unnest(map_entries(labels)) AS pair
    FROM distinct_series
)
SELECT
    -- Identity of the series.
    p.series_id::UBIGINT AS series_id,
    -- Name of the label.
    p.pair.key::VARCHAR AS name,
    -- Its value.
    p.pair.value::VARCHAR AS value
FROM pairs AS p;
