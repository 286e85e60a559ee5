-- Sum of values by stack, for one run of series inside one part of one block, whatever the time.
-- $files: samples.parquet of the block. $statistics: exact bounds of stack, for a perfect hash table.
-- $part: the part. $first_series, $last_series: the run, both inclusive.
-- Columns: stack, value.
SELECT
    stack,
    sum(value)::BIGINT AS value
FROM read_parquet($files, column_statistics = $statistics)
WHERE part = $part AND series BETWEEN $first_series AND $last_series
GROUP BY stack
