-- The cells in buckets of $width_ns, which is a multiple of what they were.
CREATE OR REPLACE TEMP TABLE cells AS
SELECT
    part,
    type,
    bucket - (bucket % $width_ns + $width_ns) % $width_ns AS bucket,
    stack,
    CASE WHEN NOT bool_or(value IS NULL) THEN try_cast(sum(value) AS BIGINT) END AS value
FROM cells
GROUP BY ALL
