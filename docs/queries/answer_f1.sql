-- How close are answers that are not exactly right? Exact match and F1 by SQuAD's rules, by type of question.
-- Of the episodes of training and panels; gold answers are in the payload of their tasks. F1 is that of
-- sdar.envs.search_qa.scoring.f1: the best over the gold answers, 0 for an episode without an answer.
WITH asked AS (
    SELECT id, any_value(CAST(payload->'$.answers' AS VARCHAR[])) AS golds
    FROM (SELECT id, environment, payload FROM task UNION ALL SELECT id, environment, payload FROM panel_task)
    WHERE environment = 'search_qa' GROUP BY id),
said AS (
    SELECT artifact_id, episode_id, regexp_replace(arg_max(action, turn), '^.*</think>', '', 's') AS action
    FROM turn GROUP BY ALL),
answered AS (
    SELECT e.artifact_id, e.id, e.task_type, e.success, a.golds,
        regexp_extract(t.action, '<search>.*?</search>|<answer>(.*?)</answer>', 1, 's') AS answer
    FROM episode e JOIN asked a ON a.id = e.task_id
    LEFT JOIN said t ON t.artifact_id = e.artifact_id AND t.episode_id = e.id),
compared AS (SELECT artifact_id, id, answer, unnest(golds) AS gold FROM answered),
texts AS (SELECT answer AS text FROM compared UNION SELECT gold FROM compared),
-- Lower case, no ASCII punctuation, no articles: twice, as articles side by side share the blank between them.
whole AS (SELECT text, nfc_normalize(lower(text)) AS whole FROM texts),
plain AS (SELECT text, whole, regexp_replace(whole, '[!-/:-@\[-`{-~]', '', 'g') AS plain FROM whole),
bare AS (
    SELECT text, whole, plain, regexp_replace(regexp_replace(plain,
            '(^|[^\pL\pN_])(?:a|an|the)($|[^\pL\pN_])', '\1 \2', 'g'),
            '(^|[^\pL\pN_])(?:a|an|the)($|[^\pL\pN_])', '\1 \2', 'g') AS bare FROM plain),
-- Where nothing is left articles stay, and then punctuation.
kept AS (
    SELECT text, CASE WHEN regexp_matches(bare, '[^\s\v\pZ\x{1c}-\x{1f}\x{85}]') THEN bare
        WHEN regexp_matches(plain, '[^\s\v\pZ\x{1c}-\x{1f}\x{85}]') THEN plain ELSE whole END AS kept
    FROM bare),
words AS (
    SELECT text, list_filter(string_split_regex(kept, '[\s\v\pZ\x{1c}-\x{1f}\x{85}]+'), lambda w: w <> '') AS words
    FROM kept),
shared AS (
    SELECT c.artifact_id, c.id, len(a.words) AS given, len(g.words) AS wanted,
        coalesce(list_sum(list_transform(list_distinct(a.words), lambda w: least(
            len(list_filter(a.words, lambda v: v = w)), len(list_filter(g.words, lambda v: v = w))))), 0) AS common
    FROM compared c JOIN words a ON a.text = c.answer JOIN words g ON g.text = c.gold
    WHERE regexp_matches(c.answer, '\S')),
best AS (
    SELECT artifact_id, id, max(CASE WHEN given + wanted = 0 THEN 1.0 ELSE 2.0 * common / (given + wanted) END) AS f1
    FROM shared GROUP BY ALL)
SELECT s.run_id, s.round, s.stage, e.task_type AS type, count(*) AS episodes,
    avg(regexp_matches(e.answer, '\S')::INTEGER) AS answered, avg(e.success::INTEGER) AS exact_match, avg(coalesce(b.f1, 0)) AS f1
FROM stage_run s JOIN answered e ON e.artifact_id = s.artifact_id
LEFT JOIN best b ON b.artifact_id = e.artifact_id AND b.id = e.id
GROUP BY ALL
ORDER BY ALL
