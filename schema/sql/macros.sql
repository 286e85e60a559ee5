-- The public table macros: `FROM top('cpu') LIMIT 20`. They need tables.sql only and work over any number of
-- blocks. All share these named arguments, none of them required:
--
--     profile_type  as in the views, or a part of it that fits one type only: `cpu`, `process_cpu`
--     service       profiles of this service only
--     labels        profiles with these labels only: MAP {'region': 'eu', 'version': 'v2'}
--     since, until  profiles of this range of time only, `since` included, `until` not
--
-- The comment above a parameter or a column is its documentation; a parameter's starts with its type.

-- The profile type that a name stands for: itself, or the only one that it fits; NULL for the only one there is.
CREATE OR REPLACE MACRO _type_of(wanted) AS (
    SELECT
        CASE
            WHEN count(*) FILTER (t.fits) = 1 THEN any_value(t.profile_type) FILTER (t.fits)
            WHEN bool_or(t.profile_type = wanted) OR len(string_split(wanted, ':')) = 5 THEN wanted
            WHEN wanted IS NULL AND count(*) > 0
            THEN error('name a profile type; there are: ' || string_agg(t.profile_type, ', ' ORDER BY t.profile_type))
            WHEN bool_or(t.fits)
            THEN error(
                'type ' || wanted || ' fits several: '
                || string_agg(t.profile_type, ', ' ORDER BY t.profile_type) FILTER (t.fits)
            )
            WHEN wanted IS NOT NULL
            THEN error(
                'no profile type ' || wanted || ' here; there are: '
                || coalesce(string_agg(t.profile_type, ', ' ORDER BY t.profile_type), 'none')
            )
        END
    FROM (
        SELECT DISTINCT
            i.profile_type,
            wanted IS NULL
            OR starts_with(i.profile_type || ':', wanted || ':')
            OR split_part(i.profile_type, ':', 2) = wanted AS fits
        FROM _index AS i
    ) AS t
);

-- The series that the arguments choose.
CREATE OR REPLACE MACRO _chosen(profile_type, service, labels) AS TABLE
SELECT i.block, i.part, i.series, i.type, i.profile_type, i.labels
FROM _index AS i
WHERE (profile_type IS NULL OR i.profile_type = profile_type)
    AND (service IS NULL OR i.service_name = service)
    AND (labels IS NULL OR list_has_all(map_entries(i.labels), map_entries(labels::MAP(VARCHAR, VARCHAR))));

-- Self and total of each node of the function tries that has a value itself or below it.
CREATE OR REPLACE MACRO _nodes(profile_type, service, labels, since, until) AS TABLE
WITH
chosen AS (
    FROM _chosen(profile_type, service, labels)
),
-- Grouped by stack before anything is joined that has a row for each stack or node.
stack_sums AS (
    SELECT s.block, s.part, c.type, s.stack, sum(s.value)::BIGINT AS value
    FROM _samples AS s
    JOIN chosen AS c
        ON c.block = s.block
        AND c.series = s.series
    WHERE (since IS NULL OR s.ts >= epoch_ns(since::TIMESTAMP_NS))
        AND (until IS NULL OR s.ts < epoch_ns(until::TIMESTAMP_NS))
    GROUP BY s.block, s.part, c.type, s.stack
),
frame_sums AS (
    SELECT s.block, s.part, s.type, t.frame, sum(s.value)::BIGINT AS value
    FROM stack_sums AS s
    JOIN _stacks AS k USING (block, part, stack)
    JOIN _stacktraces AS t USING (block, part, node)
    GROUP BY s.block, s.part, s.type, t.frame
    HAVING sum(s.value) <> 0
),
tries AS (
    SELECT DISTINCT s.block, s.part, s.type
    FROM frame_sums AS s
),
-- In pre-order the nodes below a node follow it: they are the next `size - 1` rows.
measured AS (
    SELECT f.*, t.type, coalesce(s.value, 0) AS self, sum(s.value) OVER below AS total
    FROM _frames AS f
    JOIN tries AS t USING (block, part)
    LEFT JOIN frame_sums AS s USING (block, part, type, frame)
    WINDOW below AS (
        PARTITION BY f.block, f.part, t.type
        ORDER BY f.frame
        ROWS BETWEEN CURRENT ROW AND (f.size - 1) FOLLOWING
    )
)
SELECT n.block, n.part, n.type, n.frame, n.parent, n.function, n.first, n.self, n.total::BIGINT AS total
FROM measured AS n
WHERE n.total IS NOT NULL;

-- Self and total by profile type and function name, recursion counted once.
CREATE OR REPLACE MACRO _functions_of(profile_type, service, labels, since, until) AS TABLE
WITH
types AS (
    SELECT DISTINCT i.block, i.type, i.profile_type
    FROM _index AS i
)
SELECT
    t.profile_type,
    f.name,
    sum(n.self)::BIGINT AS self,
    coalesce(sum(n.total) FILTER (n.first), 0)::BIGINT AS total
FROM _nodes(profile_type, service, labels, since, until) AS n
JOIN types AS t USING (block, type)
JOIN _functions AS f USING (block, function)
GROUP BY t.profile_type, f.name;

-- Functions by what they cost: the answer to "where does the time go". Largest self first.
CREATE OR REPLACE MACRO top(
    -- VARCHAR. The profile type.
    profile_type := NULL,
    -- VARCHAR. Only this service.
    service := NULL,
    -- MAP(VARCHAR, VARCHAR). Only these labels.
    labels := NULL,
    -- TIMESTAMP_NS. From this time on.
    since := NULL,
    -- TIMESTAMP_NS. Before this time.
    until := NULL
) AS TABLE
SELECT
    -- Name of the function.
    f.name::VARCHAR AS function,
    -- Value of samples in which it was running.
    f.self::BIGINT AS self,
    -- Value of samples in which it was anywhere in the stack; a recursive one counts once.
    f.total::BIGINT AS total
FROM _functions_of(_type_of(profile_type), service, labels, since, until) AS f
ORDER BY f.self DESC, f.total DESC, f.name;

-- Functions whose names a regular expression finds, in all profile types or one. Largest total first.
CREATE OR REPLACE MACRO matches(
    -- VARCHAR. An RE2 regular expression, found anywhere in the name.
    pattern,
    -- VARCHAR. The profile type; NULL for all.
    profile_type := NULL,
    -- VARCHAR. Only this service.
    service := NULL,
    -- MAP(VARCHAR, VARCHAR). Only these labels.
    labels := NULL,
    -- TIMESTAMP_NS. From this time on.
    since := NULL,
    -- TIMESTAMP_NS. Before this time.
    until := NULL
) AS TABLE
SELECT
    -- The profile type that `self` and `total` are in.
    f.profile_type::VARCHAR AS profile_type,
    -- Name of the function.
    f.name::VARCHAR AS function,
    -- Value of samples in which it was running.
    f.self::BIGINT AS self,
    -- Value of samples in which it was anywhere in the stack; a recursive one counts once.
    f.total::BIGINT AS total
FROM _functions_of(
    CASE WHEN profile_type IS NOT NULL THEN _type_of(profile_type) END, service, labels, since, until
) AS f
WHERE regexp_matches(f.name, pattern)
ORDER BY f.profile_type, f.total DESC, f.name;

-- Functions of two choices of profiles side by side. Largest change first.
CREATE OR REPLACE MACRO diff(
    -- VARCHAR. The profile type.
    profile_type := NULL,
    -- MAP(VARCHAR, VARCHAR). Labels of the left side.
    left_labels := NULL,
    -- MAP(VARCHAR, VARCHAR). Labels of the right side.
    right_labels := NULL,
    -- TIMESTAMP_NS. The left side from this time on.
    left_since := NULL,
    -- TIMESTAMP_NS. The left side before this time.
    left_until := NULL,
    -- TIMESTAMP_NS. The right side from this time on.
    right_since := NULL,
    -- TIMESTAMP_NS. The right side before this time.
    right_until := NULL,
    -- VARCHAR. Only this service, on both sides.
    service := NULL
) AS TABLE
SELECT
    -- Name of the function.
    coalesce(a.name, b.name)::VARCHAR AS function,
    -- Value of samples on the left in which it was running.
    coalesce(a.self, 0)::BIGINT AS left_self,
    -- The same on the right.
    coalesce(b.self, 0)::BIGINT AS right_self,
    -- Value of samples on the left in which it was anywhere in the stack.
    coalesce(a.total, 0)::BIGINT AS left_total,
    -- The same on the right.
    coalesce(b.total, 0)::BIGINT AS right_total,
    -- `right_total` - `left_total`.
    (coalesce(b.total, 0) - coalesce(a.total, 0))::BIGINT AS delta
FROM _functions_of(_type_of(profile_type), service, left_labels, left_since, left_until) AS a
FULL JOIN _functions_of(_type_of(profile_type), service, right_labels, right_since, right_until) AS b
    ON b.name = a.name
ORDER BY abs(delta) DESC, abs(right_self - left_self) DESC, function;

-- The call tree as paths of names, root first; nodes of several tries that have one path are one.
CREATE OR REPLACE MACRO _paths(profile_type, service, labels, since, until) AS TABLE
WITH RECURSIVE
nodes AS (
    SELECT n.block, n.part, n.frame, n.parent, f.name, n.self, n.total
    FROM _nodes(profile_type, service, labels, since, until) AS n
    LEFT JOIN _functions AS f USING (block, function)
),
grown AS (
    SELECT n.block, n.part, n.frame, []::VARCHAR[] AS path, n.self, n.total
    FROM nodes AS n
    WHERE n.frame = 0
    UNION ALL
    SELECT n.block, n.part, n.frame, list_append(g.path, n.name), n.self, n.total
    FROM grown AS g
    JOIN nodes AS n
        ON n.block = g.block
        AND n.part = g.part
        AND n.parent = g.frame
    WHERE n.frame <> 0
)
SELECT g.path, sum(g.self)::BIGINT AS self, sum(g.total)::BIGINT AS total
FROM grown AS g
GROUP BY g.path;

-- The call tree, in pre-order with siblings by name.
CREATE OR REPLACE MACRO tree(
    -- VARCHAR. The profile type.
    profile_type := NULL,
    -- VARCHAR. Only this service.
    service := NULL,
    -- MAP(VARCHAR, VARCHAR). Only these labels.
    labels := NULL,
    -- TIMESTAMP_NS. From this time on.
    since := NULL,
    -- TIMESTAMP_NS. Before this time.
    until := NULL
) AS TABLE
WITH
numbered AS (
    SELECT p.*, row_number() OVER (ORDER BY p.path) - 1 AS node
    FROM _paths(_type_of(profile_type), service, labels, since, until) AS p
)
SELECT
    -- Number of the node; 0 is the root, above all functions.
    n.node::BIGINT AS node,
    -- Number of its caller; NULL at the root.
    c.node::BIGINT AS parent,
    -- Functions above and including it; 0 at the root.
    len(n.path)::INTEGER AS depth,
    -- Name of the function; `total` at the root.
    coalesce(n.path[-1], 'total')::VARCHAR AS function,
    -- Value of samples whose stack ends here.
    n.self::BIGINT AS self,
    -- Value of samples whose stack comes through here or ends here.
    n.total::BIGINT AS total
FROM numbered AS n
LEFT JOIN numbered AS c
    ON len(n.path) > 0
    AND c.path = n.path[:-2]
ORDER BY n.node;

-- The call tree as bars to draw: each row of bars below its callers', as wide as their values.
CREATE OR REPLACE MACRO flamegraph(
    -- VARCHAR. The profile type.
    profile_type := NULL,
    -- VARCHAR. Only this service.
    service := NULL,
    -- MAP(VARCHAR, VARCHAR). Only these labels.
    labels := NULL,
    -- TIMESTAMP_NS. From this time on.
    since := NULL,
    -- TIMESTAMP_NS. Before this time.
    until := NULL
) AS TABLE
WITH
placed AS (
    SELECT p.*, coalesce(sum(p.self) OVER (ORDER BY p.path ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS start
    FROM _paths(_type_of(profile_type), service, labels, since, until) AS p
)
SELECT
    -- Row of the bar; 0 is the one bar of all.
    len(b.path)::INTEGER AS level,
    -- Where it starts, from the left.
    b.start::BIGINT AS start,
    -- Its width: value of samples whose stack comes through here or ends here.
    b.total::BIGINT AS total,
    -- Value of samples whose stack ends here.
    b.self::BIGINT AS self,
    -- Name of the function; `total` at the root.
    coalesce(b.path[-1], 'total')::VARCHAR AS function,
    -- Names from the outermost function to this one.
    b.path::VARCHAR[] AS path
FROM placed AS b
ORDER BY level, start, function;

-- What a function calls: the tree below it, merged over all places it is called from.
CREATE OR REPLACE MACRO callees(
    -- VARCHAR. Name of the function.
    function,
    -- VARCHAR. The profile type.
    profile_type := NULL,
    -- VARCHAR. Only this service.
    service := NULL,
    -- MAP(VARCHAR, VARCHAR). Only these labels.
    labels := NULL,
    -- TIMESTAMP_NS. From this time on.
    since := NULL,
    -- TIMESTAMP_NS. Before this time.
    until := NULL
) AS TABLE
WITH
-- From its outermost call on, so that a recursive function counts once.
below AS (
    SELECT p.path[list_position(p.path, function):] AS path, p.self, p.total
    FROM _paths(_type_of(profile_type), service, labels, since, until) AS p
    WHERE list_contains(p.path, function)
),
numbered AS (
    SELECT b.path, sum(b.self) AS self, sum(b.total) AS total, row_number() OVER (ORDER BY b.path) - 1 AS node
    FROM below AS b
    GROUP BY b.path
)
SELECT
    -- Number of the node in pre-order, siblings by name; 0 is the function.
    n.node::BIGINT AS node,
    -- Number of its caller; NULL for the function.
    c.node::BIGINT AS parent,
    -- Calls between the function and this one; 0 for the function.
    (len(n.path) - 1)::INTEGER AS depth,
    -- Name.
    n.path[-1]::VARCHAR AS function,
    -- Value of samples whose stack ends here.
    n.self::BIGINT AS self,
    -- Value of samples whose stack comes through here or ends here.
    n.total::BIGINT AS total
FROM numbered AS n
LEFT JOIN numbered AS c
    ON len(n.path) > 1
    AND c.path = n.path[:-2]
ORDER BY n.node;

-- What calls a function: the tree of its callers, the function at the root.
CREATE OR REPLACE MACRO callers(
    -- VARCHAR. Name of the function.
    function,
    -- VARCHAR. The profile type.
    profile_type := NULL,
    -- VARCHAR. Only this service.
    service := NULL,
    -- MAP(VARCHAR, VARCHAR). Only these labels.
    labels := NULL,
    -- TIMESTAMP_NS. From this time on.
    since := NULL,
    -- TIMESTAMP_NS. Before this time.
    until := NULL
) AS TABLE
WITH
-- Its outermost calls, so that a recursive function counts once, seen from the function.
above AS (
    SELECT list_reverse(p.path) AS path, p.total, unnest(range(1, len(p.path) + 1)) AS height
    FROM _paths(_type_of(profile_type), service, labels, since, until) AS p
    WHERE list_position(p.path, function) = len(p.path)
),
numbered AS (
    SELECT
        a.path[:a.height] AS path,
        coalesce(sum(a.total) FILTER (a.height = len(a.path)), 0) AS self,
        sum(a.total) AS total,
        row_number() OVER (ORDER BY a.path[:a.height]) - 1 AS node
    FROM above AS a
    GROUP BY a.path[:a.height]
)
SELECT
    -- Number of the node in pre-order, siblings by name; 0 is the function.
    n.node::BIGINT AS node,
    -- Number of the node that it calls; NULL for the function.
    c.node::BIGINT AS parent,
    -- Calls between this one and the function; 0 for the function.
    (len(n.path) - 1)::INTEGER AS depth,
    -- Name.
    n.path[-1]::VARCHAR AS function,
    -- Value of samples that have no caller above this one.
    n.self::BIGINT AS self,
    -- Value of samples in which the function was called this way.
    n.total::BIGINT AS total
FROM numbered AS n
LEFT JOIN numbered AS c
    ON len(n.path) > 1
    AND c.path = n.path[:-2]
ORDER BY n.node;

-- Totals over time. A point at time t is of profiles later than t - step and not later than t.
CREATE OR REPLACE MACRO series_of(
    -- VARCHAR. The profile type.
    profile_type := NULL,
    -- INTERVAL. Time between points, which lie at whole multiples of it since 1970.
    step := INTERVAL 1 MINUTE,
    -- VARCHAR[]. Labels to group by; without any, one series of everything.
    by := []::VARCHAR[],
    -- VARCHAR. Only this service.
    service := NULL,
    -- MAP(VARCHAR, VARCHAR). Only these labels.
    labels := NULL,
    -- TIMESTAMP_NS. From this time on.
    since := NULL,
    -- TIMESTAMP_NS. Before this time.
    until := NULL
) AS TABLE
WITH
chosen AS (
    SELECT
        i.block,
        i.series,
        map_from_entries(list_filter(map_entries(i.labels), lambda e: list_contains("by", e.key))) AS labels
    FROM _chosen(_type_of(profile_type), service, labels) AS i
),
points AS (
    SELECT
        c.labels,
        (p.ts + epoch_ns(step) - 1) // epoch_ns(step) * epoch_ns(step) AS tick,
        sum(p.total) AS value,
        count(*) AS profiles
    FROM _profiles AS p
    JOIN chosen AS c USING (block, series)
    WHERE (since IS NULL OR p.ts >= epoch_ns(since::TIMESTAMP_NS))
        AND (until IS NULL OR p.ts < epoch_ns(until::TIMESTAMP_NS))
    GROUP BY c.labels, tick
)
SELECT
    -- The labels that were asked for, as far as the series has them.
    p.labels::MAP(VARCHAR, VARCHAR) AS labels,
    -- The point in time, UTC.
    make_timestamp_ns(p.tick)::TIMESTAMP_NS AS time,
    -- Sum of the values of its profiles.
    p.value::BIGINT AS value,
    -- Number of its profiles.
    p.profiles::BIGINT AS profiles
FROM points AS p
ORDER BY sum(p.value) OVER (PARTITION BY p.labels) DESC, p.labels::VARCHAR, p.tick;
