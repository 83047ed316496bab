-- What changed between two runs? Every setting in which the last two runs differ; name others in the first line.
WITH pair AS (SELECT id, config, row_number() OVER (ORDER BY rowid DESC) AS place FROM run),
setting AS (
    SELECT p.place, p.id, t.fullkey[3:] AS setting, t.atom AS value
    FROM pair p, json_tree(p.config) t
    WHERE p.place <= 2 AND t.type NOT IN ('OBJECT', 'ARRAY'))
SELECT coalesce(b.setting, a.setting) AS setting, b.value AS before, a.value AS after
FROM (FROM setting WHERE place = 2) b FULL JOIN (FROM setting WHERE place = 1) a ON a.setting = b.setting
WHERE b.value IS DISTINCT FROM a.value AND (SELECT count(*) FROM pair) > 1
ORDER BY setting
