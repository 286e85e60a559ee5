-- Sum of values by stack, for scattered series of one block, with $start_ns <= ts < $end_ns.
-- $files, $statistics as in stack_totals.sql. `chosen(series)` is a table given with the query.
-- Columns: part, stack, value.
SELECT
    part,
    stack,
    sum(value)::BIGINT AS value
FROM read_parquet($files, column_statistics = $statistics)
WHERE
    series BETWEEN $first_series AND $last_series
    AND ts >= $start_ns
    AND ts < $end_ns
    AND series IN (SELECT series FROM chosen)
GROUP BY part, stack
