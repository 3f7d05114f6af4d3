-- Written by `python -m reports.bigquery_ddl`; change the declarations instead.

CREATE OR REPLACE VIEW `wayline.dim_stage`
OPTIONS (description = "One row a stage of the project's ontology, in its order from 1, or of another version alone, without a place.")
AS SELECT
  'discovery' AS `stage`,
  1 AS `place`,
  FALSE AS `is_last`
UNION ALL
SELECT
  'consideration' AS `stage`,
  2 AS `place`,
  FALSE AS `is_last`
UNION ALL
SELECT
  'decision' AS `stage`,
  3 AS `place`,
  FALSE AS `is_last`
UNION ALL
SELECT
  'customer' AS `stage`,
  4 AS `place`,
  TRUE AS `is_last`
UNION ALL
SELECT DISTINCT
  `to_stage`,
  NULL,
  FALSE
FROM `wayline`.`transitions`
WHERE
  NOT `to_stage` IN ('discovery', 'consideration', 'decision', 'customer');

CREATE OR REPLACE VIEW `wayline.dim_date`
OPTIONS (description = "One row a day from the first event to the last.")
AS SELECT
  `day`,
  `week`,
  `month`,
  DATE_DIFF(`day`, `week`, DAY) + 1 AS `weekday`
FROM (
  SELECT
    CAST(`day` AS DATE) AS `day`,
    CAST(DATE_TRUNC(`day`, WEEK(MONDAY)) AS DATE) AS `week`,
    CAST(DATE_TRUNC(`day`, MONTH) AS DATE) AS `month`
  FROM (
    SELECT
      MIN(DATE(`event_time`, 'UTC')) AS `first_day`,
      MAX(DATE(`event_time`, 'UTC')) AS `last_day`
    FROM `wayline`.`events`
  ) AS `span`
  CROSS JOIN UNNEST(GENERATE_DATE_ARRAY(`first_day`, `last_day`, INTERVAL 1 DAY)) AS `day`
);

CREATE OR REPLACE VIEW `wayline.dim_channel`
OPTIONS (description = "One row a channel in which a session began, with (none) for conversions without a touch.")
AS SELECT DISTINCT
  COALESCE(`channel`, '(none)') AS `channel`
FROM `wayline`.`sessions`
UNION DISTINCT
SELECT
  '(none)';

CREATE OR REPLACE VIEW `wayline.dim_campaign`
OPTIONS (description = "One row a campaign that a session states, with its first and last session.")
AS SELECT
  `campaign`,
  MIN(`started_at`) AS `first_seen`,
  MAX(`started_at`) AS `last_seen`
FROM `wayline`.`sessions`
WHERE
  NOT `campaign` IS NULL
GROUP BY
  `campaign`;

CREATE OR REPLACE VIEW `wayline.conversions`
OPTIONS (description = "One row a conversion: an outcome of kind converted.")
AS SELECT
  `o`.`outcome_id` AS `conversion_id`,
  `o`.`person_id`,
  `o`.`at` AS `converted_at`,
  `o`.`value`,
  `e`.`session_id`,
  `o`.`action_id`
FROM `wayline`.`outcomes` AS `o`
LEFT JOIN `wayline`.`events` AS `e`
  ON `e`.`event_id` = `o`.`outcome_id`
WHERE
  `o`.`kind` = 'converted';

CREATE OR REPLACE VIEW `wayline.touchpoints`
OPTIONS (description = "One row a touch of a conversion: a session of its person that began in the 30 days up to it.")
AS SELECT
  `c`.`conversion_id`,
  `c`.`person_id`,
  `c`.`converted_at`,
  `s`.`session_id`,
  COALESCE(`s`.`started_at`, `c`.`converted_at`) AS `touched_at`,
  COALESCE(`s`.`channel`, '(none)') AS `channel`,
  `s`.`campaign`,
  ROW_NUMBER() OVER (PARTITION BY `c`.`conversion_id` ORDER BY `s`.`started_at`, `s`.`session_id`) AS `place`,
  COUNT(*) OVER (PARTITION BY `c`.`conversion_id`) AS `touches`
FROM `wayline`.`conversions` AS `c`
LEFT JOIN `wayline`.`sessions` AS `s`
  ON `s`.`person_id` = `c`.`person_id`
  AND `s`.`started_at` <= `c`.`converted_at`
  AND `s`.`started_at` >= TIMESTAMP_SUB(`c`.`converted_at`, INTERVAL 720 HOUR);

CREATE OR REPLACE VIEW `wayline.attribution`
OPTIONS (description = "One row a model and touch: the credit of the touch. The credits of a conversion add up to one in each model.")
AS WITH `touch` AS (
  SELECT
    *,
    POWER(2.0, -(
      UNIX_MICROS(`converted_at`) - UNIX_MICROS(`touched_at`)
    ) / 1e6 / 604800) AS `weight`,
    COUNT(*) OVER (PARTITION BY `conversion_id`, `channel`) AS `alike`,
    ROW_NUMBER() OVER (PARTITION BY `conversion_id`, `channel` ORDER BY `place`) AS `nth`
  FROM `wayline`.`touchpoints`
), `whole` AS (
  SELECT
    *,
    SUM(`weight`) OVER (PARTITION BY `conversion_id`) AS `weights`,
    SUM(CASE WHEN `nth` = 1 THEN 1 ELSE 0 END) OVER (PARTITION BY `conversion_id`) AS `channels`
  FROM `touch`
), `model` AS (
  SELECT
    'first' AS `model`
  UNION ALL
  SELECT
    'last' AS `model`
  UNION ALL
  SELECT
    'linear' AS `model`
  UNION ALL
  SELECT
    'time_decay' AS `model`
  UNION ALL
  SELECT
    'position' AS `model`
  UNION ALL
  SELECT
    'shapley' AS `model`
)
SELECT
  `m`.`model`,
  `w`.`conversion_id`,
  `w`.`place`,
  `w`.`person_id`,
  `w`.`converted_at`,
  `w`.`session_id`,
  `w`.`channel`,
  `w`.`campaign`,
  CASE `m`.`model`
    WHEN 'first'
    THEN CASE WHEN `w`.`place` = 1 THEN 1.0 ELSE 0.0 END
    WHEN 'last'
    THEN CASE WHEN `w`.`place` = `w`.`touches` THEN 1.0 ELSE 0.0 END
    WHEN 'linear'
    THEN 1.0 / `w`.`touches`
    WHEN 'time_decay'
    THEN `w`.`weight` / `w`.`weights`
    WHEN 'position'
    THEN CASE
      WHEN `w`.`touches` <= 2
      THEN 1.0 / `w`.`touches`
      WHEN `w`.`place` = 1 OR `w`.`place` = `w`.`touches`
      THEN 0.4
      ELSE 0.2 / (
        `w`.`touches` - 2
      )
    END
    ELSE 1.0 / `w`.`channels` / `w`.`alike`
  END AS `credit`
FROM `whole` AS `w`
CROSS JOIN `model` AS `m`;

CREATE OR REPLACE VIEW `wayline.stage_history`
OPTIONS (description = "One row a stay in a stage: from its transition to the person's next one, which is null for the current stage.")
AS SELECT
  `person_id`,
  `to_stage` AS `stage`,
  `from_stage` AS `came_from`,
  `at` AS `valid_from`,
  LEAD(`at`) OVER `stays` AS `valid_to`,
  LEAD(`to_stage`) OVER `stays` AS `went_to`,
  LEAD(`at`) OVER `stays` IS NULL AS `is_current`,
  `session_id`,
  `decided_by`
FROM `wayline`.`transitions`
WINDOW `stays` AS (
  PARTITION BY `person_id`
  ORDER BY `at`, CASE WHEN `from_stage` IS NULL THEN 0 ELSE 1 END, `to_stage`
);

CREATE OR REPLACE VIEW `wayline.funnel`
OPTIONS (description = "One row a day and stage, zeros included: who entered, moved on or fell back, and who was there as the day ended.")
AS WITH `entered` AS (
  SELECT
    DATE(`valid_from`, 'UTC') AS `day`,
    `stage`,
    COUNT(*) AS `entered`
  FROM `wayline`.`stage_history`
  GROUP BY
    1,
    2
), `gone` AS (
  SELECT
    DATE(`h`.`valid_to`, 'UTC') AS `day`,
    `h`.`stage`,
    COUNT(*) AS `gone`,
    SUM(CASE WHEN `b`.`place` > `a`.`place` THEN 1 ELSE 0 END) AS `moved_on`,
    SUM(CASE WHEN `b`.`place` < `a`.`place` THEN 1 ELSE 0 END) AS `fell_back`
  FROM `wayline`.`stage_history` AS `h`
  JOIN `wayline`.`dim_stage` AS `a`
    ON `a`.`stage` = `h`.`stage`
  JOIN `wayline`.`dim_stage` AS `b`
    ON `b`.`stage` = `h`.`went_to`
  WHERE
    NOT `h`.`valid_to` IS NULL
  GROUP BY
    1,
    2
)
SELECT
  `d`.`day`,
  `s`.`stage`,
  `s`.`place`,
  CAST(COALESCE(`e`.`entered`, 0) AS INT64) AS `entered`,
  CAST(COALESCE(`g`.`moved_on`, 0) AS INT64) AS `moved_on`,
  CAST(COALESCE(`g`.`fell_back`, 0) AS INT64) AS `fell_back`,
  CAST(SUM(COALESCE(`e`.`entered`, 0) - COALESCE(`g`.`gone`, 0)) OVER (PARTITION BY `s`.`stage` ORDER BY `d`.`day`) AS INT64) AS `persons_at_end`,
  CASE
    WHEN `g`.`moved_on` + `g`.`fell_back` > 0
    THEN `g`.`fell_back` * 1.0 / (
      `g`.`moved_on` + `g`.`fell_back`
    )
  END AS `drop_off`
FROM `wayline`.`dim_date` AS `d`
CROSS JOIN `wayline`.`dim_stage` AS `s`
LEFT JOIN `entered` AS `e`
  ON `e`.`day` = `d`.`day` AND `e`.`stage` = `s`.`stage`
LEFT JOIN `gone` AS `g`
  ON `g`.`day` = `d`.`day` AND `g`.`stage` = `s`.`stage`;

CREATE OR REPLACE VIEW `wayline.stage_conversion`
OPTIONS (description = "One row a stage: stays, how many ended in a later or an earlier stage, and the dwell of those that ended.")
AS SELECT
  `a`.`stage`,
  `a`.`place`,
  COUNT(`h`.`person_id`) AS `stays`,
  COUNT(DISTINCT `h`.`person_id`) AS `persons`,
  COUNT(CASE WHEN `b`.`place` > `a`.`place` THEN 1 END) AS `moved_on`,
  COUNT(CASE WHEN `b`.`place` < `a`.`place` THEN 1 END) AS `fell_back`,
  COUNT(CASE WHEN `h`.`is_current` THEN 1 END) AS `still_there`,
  CASE
    WHEN COUNT(`h`.`person_id`) > 0
    THEN COUNT(CASE WHEN `b`.`place` > `a`.`place` THEN 1 END) * 1.0 / COUNT(`h`.`person_id`)
  END AS `rate`,
  AVG((
    UNIX_MICROS(`h`.`valid_to`) - UNIX_MICROS(`h`.`valid_from`)
  ) / 1e6) AS `mean_dwell`
FROM `wayline`.`dim_stage` AS `a`
LEFT JOIN `wayline`.`stage_history` AS `h`
  ON `h`.`stage` = `a`.`stage`
LEFT JOIN `wayline`.`dim_stage` AS `b`
  ON `b`.`stage` = `h`.`went_to`
GROUP BY
  `a`.`stage`,
  `a`.`place`;

CREATE OR REPLACE VIEW `wayline.retention`
OPTIONS (description = "One row a cohort (week of the first session) and week since, zeros included: who had a session in it. A week that is not over, or that began before the first event, is not complete: its share says less than there is.")
AS WITH `active` AS (
  SELECT DISTINCT
    `person_id`,
    CAST(DATE_TRUNC(DATE(`started_at`, 'UTC'), WEEK(MONDAY)) AS DATE) AS `seen`
  FROM `wayline`.`sessions`
), `first` AS (
  SELECT
    `person_id`,
    MIN(`seen`) AS `cohort`
  FROM `active`
  GROUP BY
    `person_id`
), `cohorts` AS (
  SELECT
    `cohort`,
    COUNT(*) AS `persons`
  FROM `first`
  GROUP BY
    `cohort`
), `came` AS (
  SELECT
    `f`.`cohort`,
    `a`.`seen`,
    COUNT(*) AS `active`
  FROM `active` AS `a`
  JOIN `first` AS `f`
    ON `f`.`person_id` = `a`.`person_id`
  GROUP BY
    `f`.`cohort`,
    `a`.`seen`
)
SELECT
  `c`.`cohort`,
  CAST(DATE_DIFF(`w`.`week`, `c`.`cohort`, DAY) / 7 AS INT64) AS `week`,
  `c`.`persons`,
  COALESCE(`a`.`active`, 0) AS `active`,
  COALESCE(`a`.`active`, 0) * 1.0 / `c`.`persons` AS `share`,
  `w`.`days` = 7 AS `is_complete`
FROM `cohorts` AS `c`
JOIN (
  SELECT
    `week`,
    COUNT(*) AS `days`
  FROM `wayline`.`dim_date`
  GROUP BY
    `week`
) AS `w`
  ON `w`.`week` >= `c`.`cohort`
LEFT JOIN `came` AS `a`
  ON `a`.`cohort` = `c`.`cohort` AND `a`.`seen` = `w`.`week`;

CREATE OR REPLACE VIEW `wayline.time_to_map`
OPTIONS (description = "One row a person of journeys: how long from the first event until it entered any stage after the first.")
AS WITH `seen` AS (
  SELECT
    `person_id`,
    MIN(`event_time`) AS `first_event`
  FROM `wayline`.`events`
  GROUP BY
    `person_id`
), `mapped` AS (
  SELECT
    `h`.`person_id`,
    MIN(`h`.`valid_from`) AS `mapped_at`
  FROM `wayline`.`stage_history` AS `h`
  JOIN `wayline`.`dim_stage` AS `s`
    ON `s`.`stage` = `h`.`stage`
  WHERE
    `s`.`place` > 1
  GROUP BY
    `h`.`person_id`
)
SELECT
  `j`.`person_id`,
  `s`.`first_event`,
  `m`.`mapped_at`,
  (
    UNIX_MICROS(`m`.`mapped_at`) - UNIX_MICROS(`s`.`first_event`)
  ) / 1e6 AS `seconds`
FROM `wayline`.`journeys` AS `j`
JOIN `seen` AS `s`
  ON `s`.`person_id` = `j`.`person_id`
LEFT JOIN `mapped` AS `m`
  ON `m`.`person_id` = `j`.`person_id`;

CREATE OR REPLACE VIEW `wayline.responses`
OPTIONS (description = "One row a stay in the stage before the last: the first action sent to the person within it, if any.")
AS SELECT
  `h`.`person_id`,
  `h`.`stage`,
  `h`.`valid_from` AS `entered_at`,
  MIN(`a`.`at`) AS `answered_at`,
  (
    UNIX_MICROS(MIN(`a`.`at`)) - UNIX_MICROS(`h`.`valid_from`)
  ) / 1e6 AS `seconds`
FROM `wayline`.`stage_history` AS `h`
JOIN `wayline`.`dim_stage` AS `s`
  ON `s`.`stage` = `h`.`stage`
JOIN `wayline`.`dim_stage` AS `n`
  ON `n`.`place` = `s`.`place` + 1
LEFT JOIN `wayline`.`actions` AS `a`
  ON `a`.`person_id` = `h`.`person_id`
  AND `a`.`status` = 'sent'
  AND `a`.`at` >= `h`.`valid_from`
  AND (
    `h`.`valid_to` IS NULL OR `a`.`at` < `h`.`valid_to`
  )
WHERE
  `n`.`is_last`
GROUP BY
  `h`.`person_id`,
  `h`.`stage`,
  `h`.`valid_from`;

CREATE OR REPLACE VIEW `wayline.channel_consistency`
OPTIONS (description = "One row a person with sessions in two channels or more: whether every channel's last session agrees on the stage.")
AS WITH `last` AS (
  SELECT
    `person_id`,
    `channel`,
    MAX(`ended_at`) AS `ended_at`
  FROM `wayline`.`sessions`
  WHERE
    NOT `channel` IS NULL
  GROUP BY
    `person_id`,
    `channel`
)
SELECT
  `l`.`person_id`,
  COUNT(*) AS `channels`,
  COUNT(DISTINCT `h`.`stage`) AS `stages`,
  CASE WHEN COUNT(DISTINCT `h`.`stage`) = 1 THEN 1 ELSE 0 END AS `is_consistent`
FROM `last` AS `l`
JOIN `wayline`.`stage_history` AS `h`
  ON `h`.`person_id` = `l`.`person_id`
  AND `h`.`valid_from` <= `l`.`ended_at`
  AND (
    `h`.`valid_to` IS NULL OR `h`.`valid_to` > `l`.`ended_at`
  )
GROUP BY
  `l`.`person_id`
HAVING
  COUNT(DISTINCT `l`.`channel`) > 1;

CREATE OR REPLACE VIEW `wayline.attributed_value`
OPTIONS (description = "One row a model and touch: the credit of the touch and its part of the value of the conversion.")
AS SELECT
  `a`.`model`,
  `a`.`conversion_id`,
  `a`.`place`,
  `a`.`channel`,
  `a`.`campaign`,
  `a`.`credit`,
  `c`.`value` * `a`.`credit` AS `value`
FROM `wayline`.`attribution` AS `a`
JOIN `wayline`.`conversions` AS `c`
  ON `c`.`conversion_id` = `a`.`conversion_id`;
