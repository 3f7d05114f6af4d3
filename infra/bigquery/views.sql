-- Written by `python -m reports.bigquery_ddl`; change the declarations instead.

CREATE OR REPLACE VIEW `wayline.events`
OPTIONS (description = "One row an accepted event.")
AS SELECT
  `event_id`,
  `name`,
  `event_time`,
  `received_time`,
  `source`,
  `channel`,
  `person_id`,
  `strand_id`,
  `session_id`,
  `correlation_id`,
  `action_id`,
  `behaviours`,
  `path`,
  `device_class`,
  `flags`,
  `revision`,
  COALESCE(`is_final` OR `event_time` < (SELECT TIMESTAMP_MICROS(MAX(horizon - lateness)) FROM `wayline.stream_horizon`), false) AS `is_final`
FROM (
SELECT * FROM `wayline.events_rows` WHERE true
QUALIFY ROW_NUMBER() OVER (PARTITION BY `event_id` ORDER BY COALESCE(`sequence`, 0) DESC, `revision` DESC, `strand_id`) = 1
)
WHERE NOT `is_deleted`;

CREATE OR REPLACE VIEW `wayline.sessions`
OPTIONS (description = "One row a session of a person, across devices.")
AS SELECT
  `session_id`,
  `person_id`,
  `started_at`,
  `ended_at`,
  `events`,
  `entry_page`,
  `exit_page`,
  `channel`,
  `device`,
  `campaign`,
  `tracker_session_id`,
  `conversions`,
  `duration`,
  `channels`,
  `views`,
  `bounced`,
  `engaged_time`,
  `strands`,
  `tracker_sessions`,
  `revision`,
  COALESCE(`is_final` OR `ended_at` <= (SELECT TIMESTAMP_MICROS(MAX(horizon - lateness - silence)) FROM `wayline.stream_horizon`), false) AS `is_final`
FROM (
SELECT * FROM `wayline.sessions_rows` WHERE true
QUALIFY ROW_NUMBER() OVER (PARTITION BY `session_id` ORDER BY COALESCE(`sequence`, 0) DESC, `revision` DESC) = 1
)
WHERE NOT `is_deleted`;

CREATE OR REPLACE VIEW `wayline.device_sessions`
OPTIONS (description = "One row a session of one strand of a person, whatever its other devices did.")
AS SELECT
  `device_session_id`,
  `person_id`,
  `strand_id`,
  `number`,
  `session_id`,
  `started_at`,
  `ended_at`,
  `events`,
  `entry_page`,
  `exit_page`,
  `channel`,
  `device`,
  `campaign`,
  `tracker_session_id`,
  `conversions`,
  `duration`,
  `channels`,
  `views`,
  `bounced`,
  `engaged_time`,
  `tracker_sessions`,
  `revision`,
  COALESCE(`is_final` OR `ended_at` <= (SELECT TIMESTAMP_MICROS(MAX(horizon - lateness - silence)) FROM `wayline.stream_horizon`), false) AS `is_final`
FROM (
SELECT * FROM `wayline.device_sessions_rows` WHERE true
QUALIFY ROW_NUMBER() OVER (PARTITION BY `device_session_id` ORDER BY COALESCE(`sequence`, 0) DESC, `revision` DESC) = 1
)
WHERE NOT `is_deleted`;

CREATE OR REPLACE VIEW `wayline.persons`
OPTIONS (description = "One row a person, one an alias, one an id that stands for nobody; an id ever shown is here.")
AS SELECT
  `person_id`,
  `first_seen`,
  `last_seen`,
  `is_current`,
  `merged_into`,
  `revision`,
  COALESCE(`is_final`, false) AS `is_final`
FROM (
SELECT * FROM (
SELECT * FROM `wayline.persons_rows` WHERE true
QUALIFY ROW_NUMBER() OVER (PARTITION BY `person_id`, `is_current` ORDER BY COALESCE(`sequence`, 0) DESC, `revision` DESC, `is_current` DESC) = 1
) WHERE true
QUALIFY ROW_NUMBER() OVER (PARTITION BY `person_id` ORDER BY `is_deleted`, `is_current` DESC) = 1
)
WHERE NOT `is_deleted`;

CREATE OR REPLACE VIEW `wayline.identifiers`
OPTIONS (description = "One row an identifier.")
AS SELECT
  `namespace`,
  `value`,
  `person_id`,
  `first_seen`,
  `last_seen`,
  `revision`,
  COALESCE(`is_final`, false) AS `is_final`
FROM (
SELECT * FROM `wayline.identifiers_rows` WHERE true
QUALIFY ROW_NUMBER() OVER (PARTITION BY `namespace`, `value` ORDER BY COALESCE(`sequence`, 0) DESC, `revision` DESC) = 1
)
WHERE NOT `is_deleted`;

CREATE OR REPLACE VIEW `wayline.edges`
OPTIONS (description = "One row a pair of identifiers and what its events say of it: the ledger of identity.")
AS SELECT
  `left_namespace`,
  `left_value`,
  `right_namespace`,
  `right_value`,
  `kind`,
  `accepted`,
  `status`,
  `rule`,
  `conflict`,
  `first_time`,
  `first_event_id`,
  `last_time`,
  `last_event_id`,
  `received_time`,
  `rules_version`,
  `revision`,
  COALESCE(`is_final`, false) AS `is_final`
FROM (
SELECT * FROM `wayline.edges_rows` WHERE true
QUALIFY ROW_NUMBER() OVER (PARTITION BY `left_namespace`, `left_value`, `right_namespace`, `right_value`, `kind` ORDER BY COALESCE(`sequence`, 0) DESC, `revision` DESC) = 1
)
WHERE NOT `is_deleted`;

CREATE OR REPLACE VIEW `wayline.journeys`
OPTIONS (description = "One row a person: where the journey stands.")
AS SELECT
  `person_id`,
  `stage`,
  `since`,
  `confidence`,
  `decided_by`,
  `events`,
  `sessions`,
  `conversions`,
  `intents`,
  `signals`,
  `consent`,
  `ontology_version`,
  `model_version`,
  `horizon`,
  `revision`,
  COALESCE(`is_final`, false) AS `is_final`
FROM (
SELECT * FROM `wayline.journeys_rows` WHERE true
QUALIFY ROW_NUMBER() OVER (PARTITION BY `person_id` ORDER BY COALESCE(`sequence`, 0) DESC, `revision` DESC) = 1
)
WHERE NOT `is_deleted`;

CREATE OR REPLACE VIEW `wayline.transitions`
OPTIONS (description = "One row a change of stage.")
AS SELECT
  `person_id`,
  `from_stage`,
  `to_stage`,
  `at`,
  `session_id`,
  `decided_by`,
  `evidence`,
  `revision`,
  COALESCE(`is_final` OR `at` < (SELECT TIMESTAMP_MICROS(MAX(horizon - lateness)) FROM `wayline.stream_horizon`), false) AS `is_final`
FROM (
SELECT * FROM `wayline.transitions_rows` WHERE true
QUALIFY ROW_NUMBER() OVER (PARTITION BY `person_id`, `at`, `to_stage` ORDER BY COALESCE(`sequence`, 0) DESC, `revision` DESC) = 1
)
WHERE NOT `is_deleted`;

CREATE OR REPLACE VIEW `wayline.features`
OPTIONS (description = "One row an evaluation point: the feature vector.")
AS SELECT
  `person_id`,
  `at`,
  `created`,
  `events_1d`,
  `events_7d`,
  `events_30d`,
  `sessions_7d`,
  `active_days_30d`,
  `trend_7d_30d`,
  `days_since_first`,
  `days_since_activity`,
  `session_events`,
  `research_7d`,
  `ads_30d`,
  `product_views_7d`,
  `comparisons_30d`,
  `pricing_views_30d`,
  `cart_7d`,
  `checkout_30d`,
  `contacts_30d`,
  `conversions`,
  `days_since_conversion`,
  `usage_30d`,
  `support_30d`,
  `email_response_30d`,
  `email_share_30d`,
  `human_share_30d`,
  `hand_held_share`,
  `hour_regularity`,
  `known`,
  `trouble`,
  `conversion_value`,
  `sessions_30d`,
  `events_per_session_30d`,
  `session_minutes`,
  `minutes_per_session`,
  `single_event_share`,
  `session_kinds`,
  `days_between_sessions`,
  `content_views_7d`,
  `searches_7d`,
  `product_views_30d`,
  `product_trend_7d_30d`,
  `pricing_views_7d`,
  `pricing_returns_30d`,
  `days_since_pricing`,
  `carts_since_conversion`,
  `email_events_30d`,
  `email_clicks_30d`,
  `days_since_email_response`,
  `human_touches_30d`,
  `device_classes`,
  `device_switches_30d`,
  `trouble_30d`,
  `consent_share`,
  `days_since_refusal`,
  `made_of`,
  `last_event_id`,
  `events_checksum`,
  `feature_version`,
  `code_version`,
  `revision`,
  COALESCE(`is_final` OR `at` < (SELECT TIMESTAMP_MICROS(MAX(horizon - lateness)) FROM `wayline.stream_horizon`), false) AS `is_final`
FROM (
SELECT * FROM `wayline.features_rows` WHERE true
QUALIFY ROW_NUMBER() OVER (PARTITION BY `person_id`, `at` ORDER BY COALESCE(`sequence`, 0) DESC, `revision` DESC) = 1
)
WHERE NOT `is_deleted`;

CREATE OR REPLACE VIEW `wayline.scores`
OPTIONS (description = "One row a scored evaluation point.")
AS SELECT
  `person_id`,
  `at`,
  `model_version`,
  `p_discovery`,
  `p_consideration`,
  `p_decision`,
  `p_customer`,
  `revision`,
  COALESCE(`is_final` OR `at` < (SELECT TIMESTAMP_MICROS(MAX(horizon - lateness)) FROM `wayline.stream_horizon`), false) AS `is_final`
FROM (
SELECT * FROM `wayline.scores_rows` WHERE true
QUALIFY ROW_NUMBER() OVER (PARTITION BY `person_id`, `at` ORDER BY COALESCE(`sequence`, 0) DESC, `revision` DESC) = 1
)
WHERE NOT `is_deleted`;

CREATE OR REPLACE VIEW `wayline.decisions`
OPTIONS (description = "One row a decision, also for doing nothing.")
AS SELECT
  `decision_id`,
  `person_id`,
  `at`,
  `trigger`,
  `chosen`,
  `candidates`,
  `reason`,
  `policy_version`,
  `model_version`,
  `propensity`,
  `slot`,
  `stage`,
  `channel`,
  `plan`,
  `plan_step`,
  `anchor_strand`,
  `session_id`,
  `ontology_version`,
  `features`,
  `facts`,
  `consent`,
  `revision`,
  true AS `is_final`
FROM (
SELECT * FROM `wayline.decisions_rows` WHERE true
QUALIFY ROW_NUMBER() OVER (PARTITION BY `decision_id` ORDER BY COALESCE(`sequence`, 0) DESC, `revision` DESC) = 1
)
WHERE NOT `is_deleted`;

CREATE OR REPLACE VIEW `wayline.actions`
OPTIONS (description = "One row an action.")
AS SELECT
  `action_id`,
  `decision_id`,
  `channel`,
  `status`,
  `at`,
  `person_id`,
  `template`,
  `reason`,
  `attempts`,
  `revision`,
  COALESCE(`is_final`, false) AS `is_final`
FROM (
SELECT * FROM `wayline.actions_rows` WHERE true
QUALIFY ROW_NUMBER() OVER (PARTITION BY `action_id` ORDER BY COALESCE(`sequence`, 0) DESC, `revision` DESC) = 1
)
WHERE NOT `is_deleted`;

CREATE OR REPLACE VIEW `wayline.outcomes`
OPTIONS (description = "One row an outcome.")
AS SELECT
  `outcome_id`,
  `action_id`,
  `kind`,
  `at`,
  `person_id`,
  `value`,
  `revision`,
  COALESCE(`is_final` OR `at` < (SELECT TIMESTAMP_MICROS(MAX(horizon - lateness)) FROM `wayline.stream_horizon`), false) AS `is_final`
FROM (
SELECT * FROM `wayline.outcomes_rows` WHERE true
QUALIFY ROW_NUMBER() OVER (PARTITION BY `outcome_id` ORDER BY COALESCE(`sequence`, 0) DESC, `revision` DESC, `person_id`, `at`) = 1
)
WHERE NOT `is_deleted`;

CREATE OR REPLACE VIEW `wayline.labels`
OPTIONS (description = "One row a matured decision.")
AS SELECT
  `decision_id`,
  `outcome`,
  `at`,
  `matured_at`,
  `person_id`,
  `arm`,
  `propensity`,
  `origin`,
  `decided_at`,
  `revision`,
  COALESCE(`is_final`, false) AS `is_final`
FROM (
SELECT * FROM `wayline.labels_rows` WHERE true
QUALIFY ROW_NUMBER() OVER (PARTITION BY `decision_id` ORDER BY COALESCE(`sequence`, 0) DESC, `revision` DESC) = 1
)
WHERE NOT `is_deleted`;

CREATE OR REPLACE VIEW `wayline.dead_letters`
OPTIONS (description = "One row a rejected unit, whole and replayable.")
AS SELECT
  `dead_letter_id`,
  `stage`,
  `reason`,
  `source`,
  `schema_id`,
  `at`,
  `detail`,
  `payload_schema`,
  `payload`,
  `revision`,
  true AS `is_final`
FROM (
SELECT * FROM `wayline.dead_letters_rows` WHERE true
QUALIFY ROW_NUMBER() OVER (PARTITION BY `dead_letter_id` ORDER BY COALESCE(`sequence`, 0) DESC, `revision` DESC) = 1
)
WHERE NOT `is_deleted`;

CREATE OR REPLACE VIEW `wayline.expired_late`
OPTIONS (description = "One row an event that came later than the lateness bound, whole.")
AS SELECT
  `dead_letter_id`,
  `stage`,
  `reason`,
  `source`,
  `schema_id`,
  `at`,
  `detail`,
  `payload_schema`,
  `payload`,
  `revision`,
  true AS `is_final`
FROM (
SELECT * FROM `wayline.expired_late_rows` WHERE true
QUALIFY ROW_NUMBER() OVER (PARTITION BY `dead_letter_id` ORDER BY COALESCE(`sequence`, 0) DESC, `revision` DESC) = 1
)
WHERE NOT `is_deleted`;

CREATE OR REPLACE VIEW `wayline.run_ledger`
OPTIONS (description = "One row a run and source: received = accepted + duplicate + dead_lettered + expired_late + erased.")
AS SELECT
  `run_id`,
  `source`,
  `received`,
  `accepted`,
  `duplicate`,
  `dead_lettered`,
  `expired_late`,
  `erased`,
  `after_horizon`,
  `revision`,
  true AS `is_final`
FROM (
SELECT * FROM `wayline.run_ledger_rows` WHERE true
QUALIFY ROW_NUMBER() OVER (PARTITION BY `run_id`, `source` ORDER BY COALESCE(`sequence`, 0) DESC, `revision` DESC) = 1
)
WHERE NOT `is_deleted`;
