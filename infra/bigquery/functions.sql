-- Written by `python -m reports.bigquery_ddl`; change the declarations instead.

CREATE OR REPLACE TABLE FUNCTION `wayline.stage_as_of`(`ts` TIMESTAMP)
OPTIONS (description = "One row a person who had a journey by then: the stage, as it is now known to have been.")
AS (
SELECT
  `h`.`person_id`,
  `h`.`stage`,
  `h`.`came_from`,
  `h`.`valid_from`,
  `h`.`session_id`,
  `h`.`decided_by`
FROM `wayline`.`stage_history` AS `h`
WHERE
  `h`.`valid_from` <= CAST(`ts` AS TIMESTAMP)
  AND (
    `h`.`valid_to` IS NULL OR `h`.`valid_to` > CAST(`ts` AS TIMESTAMP)
  )
);

CREATE OR REPLACE TABLE FUNCTION `wayline.journey_as_of`(`person` STRING, `ts` TIMESTAMP)
OPTIONS (description = "One row a stage entered and one a decision made by then, of a person or of who has an alias.")
AS (
SELECT
  `h`.`valid_from` AS `at`,
  'stage' AS `what`,
  `h`.`stage` AS `value`,
  `h`.`decided_by` AS `reason`
FROM `wayline`.`stage_history` AS `h`
WHERE
  `h`.`person_id` = COALESCE(
    (
      SELECT
        MAX(`a`.`merged_into`)
      FROM `wayline`.`persons` AS `a`
      WHERE
        `a`.`person_id` = `person`
    ),
    `person`
  )
  AND `h`.`valid_from` <= CAST(`ts` AS TIMESTAMP)
UNION ALL
SELECT
  `d`.`at`,
  'decision' AS `what`,
  `d`.`chosen` AS `value`,
  `d`.`reason`
FROM `wayline`.`decisions` AS `d`
WHERE
  `d`.`at` <= CAST(`ts` AS TIMESTAMP)
  AND (
    `d`.`person_id` = COALESCE(
      (
        SELECT
          MAX(`a`.`merged_into`)
        FROM `wayline`.`persons` AS `a`
        WHERE
          `a`.`person_id` = `person`
      ),
      `person`
    )
    OR `d`.`person_id` IN (
      SELECT
        `b`.`person_id`
      FROM `wayline`.`persons` AS `b`
      WHERE
        `b`.`merged_into` = COALESCE(
          (
            SELECT
              MAX(`a`.`merged_into`)
            FROM `wayline`.`persons` AS `a`
            WHERE
              `a`.`person_id` = `person`
          ),
          `person`
        )
    )
  )
ORDER BY
  1,
  2 DESC,
  3,
  4
);

CREATE OR REPLACE TABLE FUNCTION `wayline.known_as_of`(`ts` TIMESTAMP, `received_by` TIMESTAMP)
OPTIONS (description = "One row a person of whom an event by ts had been received: how many, and what came to be known only later.")
AS (
SELECT
  `e`.`person_id`,
  MIN(
    CASE
      WHEN `e`.`received_time` <= CAST(`received_by` AS TIMESTAMP)
      THEN `e`.`event_time`
    END
  ) AS `first_event`,
  MAX(
    CASE
      WHEN `e`.`received_time` <= CAST(`received_by` AS TIMESTAMP)
      THEN `e`.`event_time`
    END
  ) AS `last_event`,
  COUNT(CASE WHEN `e`.`received_time` <= CAST(`received_by` AS TIMESTAMP) THEN 1 END) AS `events`,
  COUNT(CASE WHEN `e`.`received_time` > CAST(`received_by` AS TIMESTAMP) THEN 1 END) AS `late`,
  COALESCE(MAX(`l`.`links`), 0) AS `later_links`,
  COUNT(CASE WHEN `e`.`received_time` > CAST(`received_by` AS TIMESTAMP) THEN 1 END) = 0
  AND (
    COALESCE(MAX(`l`.`links`), 0) = 0 OR COALESCE(MAX(`s`.`identifiers`), 0) < 2
  ) AS `is_exact`
FROM `wayline`.`events` AS `e`
LEFT JOIN (
  SELECT
    `i`.`person_id`,
    COUNT(*) AS `links`
  FROM `wayline`.`edges` AS `g`
  JOIN `wayline`.`identifiers` AS `i`
    ON `i`.`namespace` = `g`.`left_namespace` AND `i`.`value` = `g`.`left_value`
  WHERE
    (
      `g`.`first_time` > CAST(`ts` AS TIMESTAMP)
      OR `g`.`received_time` > CAST(`received_by` AS TIMESTAMP)
    )
  GROUP BY
    `i`.`person_id`
) AS `l`
  ON `l`.`person_id` = `e`.`person_id`
LEFT JOIN (
  SELECT
    `person_id`,
    COUNT(*) AS `identifiers`
  FROM `wayline`.`identifiers`
  WHERE
    `first_seen` <= CAST(`ts` AS TIMESTAMP)
  GROUP BY
    `person_id`
) AS `s`
  ON `s`.`person_id` = `e`.`person_id`
WHERE
  `e`.`event_time` <= CAST(`ts` AS TIMESTAMP)
GROUP BY
  `e`.`person_id`
HAVING
  COUNT(CASE WHEN `e`.`received_time` <= CAST(`received_by` AS TIMESTAMP) THEN 1 END) > 0
);

CREATE OR REPLACE TABLE FUNCTION `wayline.features_as_of`(`ts` TIMESTAMP, `received_by` TIMESTAMP)
OPTIONS (description = "One row a person: the latest features by ts of which every event had been received, and whether none came later.")
AS (
SELECT
  `f`.*,
  `k`.`is_exact`
FROM `wayline`.`features` AS `f`
JOIN (
  SELECT
    `e`.`person_id`,
    MIN(
      CASE
        WHEN `e`.`received_time` <= CAST(`received_by` AS TIMESTAMP)
        THEN `e`.`event_time`
      END
    ) AS `first_event`,
    MAX(
      CASE
        WHEN `e`.`received_time` <= CAST(`received_by` AS TIMESTAMP)
        THEN `e`.`event_time`
      END
    ) AS `last_event`,
    COUNT(CASE WHEN `e`.`received_time` <= CAST(`received_by` AS TIMESTAMP) THEN 1 END) AS `events`,
    COUNT(CASE WHEN `e`.`received_time` > CAST(`received_by` AS TIMESTAMP) THEN 1 END) AS `late`,
    COALESCE(MAX(`l`.`links`), 0) AS `later_links`,
    COUNT(CASE WHEN `e`.`received_time` > CAST(`received_by` AS TIMESTAMP) THEN 1 END) = 0
    AND (
      COALESCE(MAX(`l`.`links`), 0) = 0 OR COALESCE(MAX(`s`.`identifiers`), 0) < 2
    ) AS `is_exact`
  FROM `wayline`.`events` AS `e`
  LEFT JOIN (
    SELECT
      `i`.`person_id`,
      COUNT(*) AS `links`
    FROM `wayline`.`edges` AS `g`
    JOIN `wayline`.`identifiers` AS `i`
      ON `i`.`namespace` = `g`.`left_namespace` AND `i`.`value` = `g`.`left_value`
    WHERE
      (
        `g`.`first_time` > CAST(`ts` AS TIMESTAMP)
        OR `g`.`received_time` > CAST(`received_by` AS TIMESTAMP)
      )
    GROUP BY
      `i`.`person_id`
  ) AS `l`
    ON `l`.`person_id` = `e`.`person_id`
  LEFT JOIN (
    SELECT
      `person_id`,
      COUNT(*) AS `identifiers`
    FROM `wayline`.`identifiers`
    WHERE
      `first_seen` <= CAST(`ts` AS TIMESTAMP)
    GROUP BY
      `person_id`
  ) AS `s`
    ON `s`.`person_id` = `e`.`person_id`
  WHERE
    `e`.`event_time` <= CAST(`ts` AS TIMESTAMP)
  GROUP BY
    `e`.`person_id`
  HAVING
    COUNT(CASE WHEN `e`.`received_time` <= CAST(`received_by` AS TIMESTAMP) THEN 1 END) > 0
) AS `k`
  ON `k`.`person_id` = `f`.`person_id`
WHERE
  `f`.`at` <= CAST(`ts` AS TIMESTAMP)
  AND `f`.`created` <= CAST(`received_by` AS TIMESTAMP)
QUALIFY
  ROW_NUMBER() OVER (PARTITION BY `f`.`person_id` ORDER BY `f`.`at` DESC) = 1
);

CREATE OR REPLACE TABLE FUNCTION `wayline.decisions_as_of`(`ts` TIMESTAMP, `received_by` TIMESTAMP)
OPTIONS (description = "One row a decision made by ts: what had become of it, and whether its moment still stands.")
AS (
SELECT
  `d`.`decision_id`,
  COALESCE(`a`.`merged_into`, `d`.`person_id`) AS `person_id`,
  `d`.`person_id` AS `decided_as`,
  `d`.`at`,
  `d`.`trigger`,
  `d`.`chosen`,
  `d`.`channel`,
  `d`.`reason`,
  CASE
    WHEN NOT `t`.`action_id` IS NULL
    THEN `t`.`status`
    WHEN `d`.`channel` IS NULL
    THEN 'nothing to do'
    ELSE 'no action by then'
  END AS `status`,
  COALESCE(`r`.`outcomes`, 0) AS `outcomes`,
  `d`.`trigger` = 'step' OR NOT `m`.`person_id` IS NULL AS `stands`
FROM `wayline`.`decisions` AS `d`
LEFT JOIN `wayline`.`persons` AS `a`
  ON `a`.`person_id` = `d`.`person_id`
LEFT JOIN `wayline`.`actions` AS `t`
  ON `t`.`decision_id` = `d`.`decision_id` AND `t`.`at` <= CAST(`ts` AS TIMESTAMP)
LEFT JOIN (
  SELECT
    `o`.`action_id`,
    COUNT(*) AS `outcomes`
  FROM `wayline`.`outcomes` AS `o`
  JOIN `wayline`.`events` AS `e`
    ON `e`.`event_id` = `o`.`outcome_id`
  WHERE
    `o`.`at` <= CAST(`ts` AS TIMESTAMP)
    AND `e`.`received_time` <= CAST(`received_by` AS TIMESTAMP)
  GROUP BY
    `o`.`action_id`
) AS `r`
  ON `r`.`action_id` = `t`.`action_id`
LEFT JOIN (
  SELECT
    `person_id`,
    `at`
  FROM `wayline`.`features`
  UNION DISTINCT
  SELECT
    `person_id`,
    `at`
  FROM `wayline`.`transitions`
) AS `m`
  ON `m`.`person_id` = COALESCE(`a`.`merged_into`, `d`.`person_id`)
  AND `m`.`at` = `d`.`at`
WHERE
  `d`.`at` <= CAST(`ts` AS TIMESTAMP)
);

CREATE OR REPLACE TABLE FUNCTION `wayline.identity_as_of`(`person` STRING, `ts` TIMESTAMP, `received_by` TIMESTAMP)
OPTIONS (description = "One row a pair of identifiers, one of them the person's, whose first evidence was known: what is held of it now.")
AS (
SELECT DISTINCT
  `g`.`left_namespace`,
  `g`.`left_value`,
  `g`.`right_namespace`,
  `g`.`right_value`,
  `g`.`kind`,
  `g`.`first_time`,
  `g`.`received_time`,
  `g`.`status` AS `status_now`,
  `g`.`rule` AS `rule_now`
FROM `wayline`.`edges` AS `g`
JOIN `wayline`.`identifiers` AS `i`
  ON `i`.`person_id` = COALESCE(
    (
      SELECT
        MAX(`a`.`merged_into`)
      FROM `wayline`.`persons` AS `a`
      WHERE
        `a`.`person_id` = `person`
    ),
    `person`
  )
  AND (
    `i`.`namespace` = `g`.`left_namespace`
    AND `i`.`value` = `g`.`left_value`
    OR `i`.`namespace` = `g`.`right_namespace`
    AND `i`.`value` = `g`.`right_value`
  )
WHERE
  `g`.`first_time` <= CAST(`ts` AS TIMESTAMP)
  AND `g`.`received_time` <= CAST(`received_by` AS TIMESTAMP)
);
