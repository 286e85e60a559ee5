-- The rows of the rollup for $parts, as they are stored.
SELECT
    $block::UBIGINT AS block,
    part,
    type,
    bucket,
    stack,
    value
FROM cells
WHERE list_contains($parts, part)
ORDER BY part, type, bucket, stack
