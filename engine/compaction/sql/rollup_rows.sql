-- How many cells each part has; NULL where one of them could not be added up.
SELECT
    part,
    CASE WHEN NOT bool_or(value IS NULL) THEN count(*) END AS cells
FROM cells
GROUP BY part
ORDER BY part
