-- Sum of values by stack, for one run of series inside one part of one block, whatever the time.
-- $files: samples.parquet of the block. $statistics: exact bounds of stack, for a perfect hash table.
-- $first_series, $last_series: the run, both inclusive; a series is in one part, so the part need not be compared.
-- Columns: stack, value.
SELECT
    stack,
    sum(value)::BIGINT AS value
FROM read_parquet($files, column_statistics = $statistics)
WHERE series BETWEEN $first_series AND $last_series
GROUP BY stack
