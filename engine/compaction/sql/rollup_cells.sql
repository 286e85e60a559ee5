-- The cells of the smallest rollup of some parts of a block: $samples and $index are its files, the parts have the
-- series $first_series to $last_series, and buckets are $width_ns wide.
-- A sum that no 64 bits hold is NULL.
CREATE OR REPLACE TEMP TABLE cells AS
SELECT
    part,
    type,
    ts - (ts % $width_ns + $width_ns) % $width_ns AS bucket,
    stack,
    try_cast(sum(value) AS BIGINT) AS value
FROM read_parquet($samples)
JOIN (SELECT series, type FROM read_parquet($index)) USING (series)
WHERE series BETWEEN $first_series AND $last_series
GROUP BY ALL
