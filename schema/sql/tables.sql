-- The stored tables of all chosen blocks, one private view each. Nothing here is meant to be queried by
-- people: see views.sql. To use these files in a bare DuckDB, say where the blocks are, then read the
-- three scripts in this order:
--
--     SET VARIABLE blocks = '/srv/profiles/anonymous/blocks/*';
--     .read tables.sql
--     .read views.sql
--     .read macros.sql
--
-- With many blocks, `SET disabled_optimizers = 'partial_aggregate_pushdown'` makes the macros twice as fast.
--
-- Instead of all blocks below a pattern, `SET VARIABLE samples_files = ['…/samples.parquet', …]`, and
-- likewise for each other table, names the files of a choice of blocks; variables are read anew by each
-- query. Each view starts with an empty relation that states the columns and their types: a file of an
-- older format lacks some, and there may be no file at all. Columns are qualified, since an unqualified one
-- would clash with a macro's parameter of the same name.

-- The files of one stored table.
CREATE OR REPLACE MACRO _files(file_name) AS
    coalesce(
        getvariable(split_part(file_name, '.', 1) || '_files'),
        CASE
            WHEN getvariable('blocks') IS NULL THEN []::VARCHAR[]
            ELSE [getvariable('blocks') || '/' || file_name]
        END
    );

-- Blocks, from their meta.json.
CREATE OR REPLACE VIEW _blocks AS
SELECT
    t.ulid, t.tenant, t.level, t.block, t.min_ts, t.max_ts, t.profiles, t.samples, t.series, t.parents,
    t.sources, t.version, t.size_bytes
FROM (
    SELECT
        NULL::VARCHAR AS ulid,
        NULL::VARCHAR AS tenant,
        NULL::INTEGER AS level,
        -- Low 64 bits of the ULID, the constant of the `block` columns.
        NULL::UBIGINT AS block,
        -- Times of the first and the last profile, nanoseconds since 1970.
        NULL::BIGINT AS min_ts,
        NULL::BIGINT AS max_ts,
        NULL::UBIGINT AS profiles,
        NULL::UBIGINT AS samples,
        NULL::UBIGINT AS series,
        NULL::VARCHAR[] AS parents,
        NULL::VARCHAR[] AS sources,
        NULL::INTEGER AS version,
        NULL::UBIGINT AS size_bytes
    WHERE false
    UNION ALL BY NAME
    FROM read_json(
        _files('meta.json'),
        allow_empty := true,
        maximum_object_size := 1073741824,
        columns := {
            'ulid': 'VARCHAR', 'tenant': 'VARCHAR', 'level': 'INTEGER', 'block': 'UBIGINT',
            'min_ts': 'BIGINT', 'max_ts': 'BIGINT', 'profiles': 'UBIGINT', 'samples': 'UBIGINT',
            'series': 'UBIGINT', 'parents': 'VARCHAR[]', 'sources': 'VARCHAR[]', 'version': 'INTEGER',
            'size_bytes': 'UBIGINT'
        }
    )
) AS t;

-- Series: a label set with its profile type, in the order of `part`, then type.
CREATE OR REPLACE VIEW _index AS
SELECT
    t.block, t.part, t.series, t.series_id, t.type, t.service_name, t.profile_type, t.labels, t.min_ts,
    t.max_ts, t.profiles, t.samples
FROM (
    SELECT
        NULL::UBIGINT AS block,
        NULL::UINTEGER AS part,
        NULL::UINTEGER AS series,
        -- Content hash of the label set.
        NULL::UBIGINT AS series_id,
        NULL::USMALLINT AS type,
        NULL::VARCHAR AS service_name,
        NULL::VARCHAR AS profile_type,
        NULL::MAP(VARCHAR, VARCHAR) AS labels,
        NULL::BIGINT AS min_ts,
        NULL::BIGINT AS max_ts,
        NULL::UBIGINT AS profiles,
        NULL::UBIGINT AS samples
    WHERE false
    UNION ALL BY NAME
    FROM read_parquet(_files('index.parquet'), union_by_name := true, allow_empty := true)
) AS t;

-- Profiles, one row for each profile and series, in the order of `part, series, ts`.
CREATE OR REPLACE VIEW _stored_profiles AS
SELECT
    t.block, t.part, t.series, t.ts, t.profile_id, t.upload_id, t.start, t.n, t.total, t.type_no, t.rules,
    t.period, t.duration_ns, t.default_sample_type, t.drop_frames, t.keep_frames, t.comments, t.doc_url,
    t.mappings
FROM (
    SELECT
        NULL::UBIGINT AS block,
        NULL::UINTEGER AS part,
        NULL::UINTEGER AS series,
        NULL::BIGINT AS ts,
        NULL::UUID AS profile_id,
        -- NULL when it is the same as `profile_id`.
        NULL::UUID AS upload_id,
        -- Its samples are `n` rows of this block's samples from row `start` on.
        NULL::UBIGINT AS start,
        NULL::UINTEGER AS n,
        -- Sum of its samples' values.
        NULL::BIGINT AS total,
        -- Position of the sample type in the uploaded profile.
        NULL::USMALLINT AS type_no,
        -- 0 verbatim, 1 pyroscope.
        NULL::UTINYINT AS rules,
        NULL::BIGINT AS period,
        NULL::BIGINT AS duration_ns,
        NULL::VARCHAR AS default_sample_type,
        NULL::VARCHAR AS drop_frames,
        NULL::VARCHAR AS keep_frames,
        NULL::VARCHAR[] AS comments,
        NULL::VARCHAR AS doc_url,
        -- Content hashes of the mappings that the profile listed.
        NULL::UBIGINT[] AS mappings
    WHERE false
    UNION ALL BY NAME
    FROM read_parquet(_files('profiles.parquet'), union_by_name := true, allow_empty := true)
) AS t;

-- Profiles that count. A query that finds a profile in several blocks replaces this view (exclusions.sql).
CREATE OR REPLACE VIEW _profiles AS
FROM _stored_profiles;

-- Samples, in the order of `part, series, ts`; the rows of one profile are contiguous.
CREATE OR REPLACE VIEW _stored_samples AS
SELECT
    t.block, t.part, t.series, t.ts, t.stack, t.value, t.labelset, t.span_id, t.trace_id, t.file_row_number
FROM (
    SELECT
        NULL::UBIGINT AS block,
        NULL::UINTEGER AS part,
        NULL::UINTEGER AS series,
        NULL::BIGINT AS ts,
        NULL::UINTEGER AS stack,
        NULL::BIGINT AS value,
        NULL::UINTEGER AS labelset,
        NULL::UBIGINT AS span_id,
        NULL::BLOB AS trace_id,
        -- Row in its block.
        NULL::BIGINT AS file_row_number
    WHERE false
    UNION ALL BY NAME
    FROM read_parquet(
        _files('samples.parquet'), union_by_name := true, allow_empty := true, file_row_number := true
    )
) AS t;

-- Samples that count. A query that finds a profile in several blocks replaces this view (exclusions.sql).
CREATE OR REPLACE VIEW _samples AS
FROM _stored_samples;

-- Stacks: `stack` is dense in its part, `stack_id` the content hash that all blocks share.
CREATE OR REPLACE VIEW _stacks AS
SELECT
    t.block, t.part, t.stack, t.node, t.stack_id
FROM (
    SELECT
        NULL::UBIGINT AS block,
        NULL::UINTEGER AS part,
        NULL::UINTEGER AS stack,
        -- The stack's leaf in `_stacktraces`.
        NULL::UINTEGER AS node,
        NULL::UBIGINT AS stack_id
    WHERE false
    UNION ALL BY NAME
    FROM read_parquet(_files('stacks.parquet'), union_by_name := true, allow_empty := true)
) AS t;

-- The trie of locations of each part in pre-order; node 0 is the root and its own parent.
CREATE OR REPLACE VIEW _stacktraces AS
SELECT
    t.block, t.part, t.node, t.parent, t.size, t.location, t.frame
FROM (
    SELECT
        NULL::UBIGINT AS block,
        NULL::UINTEGER AS part,
        NULL::UINTEGER AS node,
        NULL::UINTEGER AS parent,
        -- Nodes of its subtree, itself included.
        NULL::UINTEGER AS size,
        -- 4294967295 at the root.
        NULL::UINTEGER AS location,
        -- The node's innermost function in `_frames`.
        NULL::UINTEGER AS frame
    WHERE false
    UNION ALL BY NAME
    FROM read_parquet(_files('stacktraces.parquet'), union_by_name := true, allow_empty := true)
) AS t;

-- The trie of functions of each part in pre-order, inlined functions included, siblings by name.
CREATE OR REPLACE VIEW _frames AS
SELECT
    t.block, t.part, t.frame, t.parent, t.size, t.function, t.depth, t.first
FROM (
    SELECT
        NULL::UBIGINT AS block,
        NULL::UINTEGER AS part,
        NULL::UINTEGER AS frame,
        NULL::UINTEGER AS parent,
        NULL::UINTEGER AS size,
        -- 4294967295 at the root. Stands for all functions of its name.
        NULL::UINTEGER AS function,
        -- 0 at the root.
        NULL::UINTEGER AS depth,
        -- Whether no ancestor has the same name.
        NULL::BOOLEAN AS first
    WHERE false
    UNION ALL BY NAME
    FROM read_parquet(_files('frames.parquet'), union_by_name := true, allow_empty := true)
) AS t;

-- Locations, their lines innermost function first.
CREATE OR REPLACE VIEW _locations AS
SELECT
    t.block, t.location, t.location_id, t.mapping, t.address, t.is_folded, t.lines
FROM (
    SELECT
        NULL::UBIGINT AS block,
        NULL::UINTEGER AS location,
        NULL::UBIGINT AS location_id,
        -- 4294967295 for none.
        NULL::UINTEGER AS mapping,
        NULL::UBIGINT AS address,
        NULL::BOOLEAN AS is_folded,
        NULL::STRUCT(function UINTEGER, line BIGINT, "column" BIGINT)[] AS lines
    WHERE false
    UNION ALL BY NAME
    FROM read_parquet(_files('locations.parquet'), union_by_name := true, allow_empty := true)
) AS t;

-- Functions, by name.
CREATE OR REPLACE VIEW _functions AS
SELECT
    t.block, t.function, t.function_id, t.name, t.system_name, t.filename, t.start_line, t.synthetic
FROM (
    SELECT
        NULL::UBIGINT AS block,
        NULL::UINTEGER AS function,
        NULL::UBIGINT AS function_id,
        NULL::VARCHAR AS name,
        NULL::VARCHAR AS system_name,
        NULL::VARCHAR AS filename,
        NULL::BIGINT AS start_line,
        -- Not in any profile: the display name of locations without symbols.
        NULL::BOOLEAN AS synthetic
    WHERE false
    UNION ALL BY NAME
    FROM read_parquet(_files('functions.parquet'), union_by_name := true, allow_empty := true)
) AS t;

-- Mappings: binaries and libraries.
CREATE OR REPLACE VIEW _mappings AS
SELECT
    t.block, t.mapping, t.mapping_id, t.filename, t.build_id, t.memory_start, t.memory_limit, t.file_offset,
    t.has_functions, t.has_filenames, t.has_line_numbers, t.has_inline_frames
FROM (
    SELECT
        NULL::UBIGINT AS block,
        NULL::UINTEGER AS mapping,
        NULL::UBIGINT AS mapping_id,
        NULL::VARCHAR AS filename,
        NULL::VARCHAR AS build_id,
        NULL::UBIGINT AS memory_start,
        NULL::UBIGINT AS memory_limit,
        NULL::UBIGINT AS file_offset,
        NULL::BOOLEAN AS has_functions,
        NULL::BOOLEAN AS has_filenames,
        NULL::BOOLEAN AS has_line_numbers,
        NULL::BOOLEAN AS has_inline_frames
    WHERE false
    UNION ALL BY NAME
    FROM read_parquet(_files('mappings.parquet'), union_by_name := true, allow_empty := true)
) AS t;

-- Label sets of single samples; a block without any has no such file.
CREATE OR REPLACE VIEW _labelsets AS
SELECT
    t.block, t.labelset, t.labelset_id, t.labels
FROM (
    SELECT
        NULL::UBIGINT AS block,
        NULL::UINTEGER AS labelset,
        NULL::UBIGINT AS labelset_id,
        NULL::STRUCT("key" VARCHAR, str VARCHAR, num BIGINT, unit VARCHAR)[] AS labels
    WHERE false
    UNION ALL BY NAME
    FROM read_parquet(_files('labelsets.parquet'), union_by_name := true, allow_empty := true)
) AS t;
