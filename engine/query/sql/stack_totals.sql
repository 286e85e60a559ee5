-- Sum of values by stack, for one run of series of one block, whatever the time.
-- $files: samples.parquet of the block. $statistics: exact bounds of part and stack, for a perfect hash table.
-- $first_series, $last_series: the run, both inclusive.
-- Columns: part, stack, value.
SELECT
    part,
    stack,
    sum(value)::BIGINT AS value
FROM read_parquet($files, column_statistics = $statistics)
WHERE series BETWEEN $first_series AND $last_series
GROUP BY part, stack
