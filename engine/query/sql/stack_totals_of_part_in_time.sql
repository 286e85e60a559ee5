-- As stack_totals_of_part.sql, for profiles with $start_ns <= ts < $end_ns.
SELECT
    stack,
    sum(value)::BIGINT AS value
FROM read_parquet($files, column_statistics = $statistics)
WHERE series BETWEEN $first_series AND $last_series AND ts >= $start_ns AND ts < $end_ns
GROUP BY stack
