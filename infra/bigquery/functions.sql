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
