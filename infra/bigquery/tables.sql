-- Written by `python -m reports.bigquery_ddl`; change the declarations instead.

CREATE TABLE IF NOT EXISTS `wayline.events_rows` (
  `event_id` STRING NOT NULL OPTIONS (description = "Id of the event, as its source gave it."),
  `name` STRING OPTIONS (description = "What happened."),
  `event_time` TIMESTAMP OPTIONS (description = "When it happened."),
  `received_time` TIMESTAMP OPTIONS (description = "When it was received."),
  `source` STRING OPTIONS (description = "System it came from."),
  `channel` STRING OPTIONS (description = "Where the customer was."),
  `person_id` STRING OPTIONS (description = "Person it belongs to, as identity stands now."),
  `strand_id` STRING OPTIONS (description = "Strand it belongs to."),
  `session_id` STRING OPTIONS (description = "Session it belongs to; null for events that are no behaviour, such as receipts."),
  `correlation_id` STRING OPTIONS (description = "Business transaction it belongs to, if stated."),
  `action_id` STRING OPTIONS (description = "Action it answers, if any."),
  `behaviours` STRING OPTIONS (description = "Behaviours of the ontology that it shows."),
  `path` STRING OPTIONS (description = "Path of the page or name of the screen."),
  `device_class` STRING OPTIONS (description = "Class of the device."),
  `flags` STRING OPTIONS (description = "What validation noticed without rejecting it, e.g. unknown_name."),
  `revision` INT64 OPTIONS (description = "Grows with every correction of the row of this key."),
  `is_final` BOOL OPTIONS (description = "No late event can change the row any more; identity still may."),
  `is_deleted` BOOL OPTIONS (description = "The key vanished: a tombstone."),
  `sequence` INT64 OPTIONS (description = "Who of two that state the row has it: goes before the revision; null counts as 0."),
  PRIMARY KEY (`event_id`) NOT ENFORCED
)
CLUSTER BY `event_id`
OPTIONS (max_staleness = INTERVAL 15 MINUTE, description = "One row an accepted event.");

CREATE TABLE IF NOT EXISTS `wayline.sessions_rows` (
  `session_id` STRING NOT NULL OPTIONS (description = "Hash of the strand of its first event and that event's id."),
  `person_id` STRING OPTIONS (description = "Person."),
  `started_at` TIMESTAMP OPTIONS (description = "Time of its first event."),
  `ended_at` TIMESTAMP OPTIONS (description = "Time of its last event; the gap that closed it is not part of it."),
  `events` INT64 OPTIONS (description = "Events in it."),
  `entry_page` STRING OPTIONS (description = "Path of the first event that has one."),
  `exit_page` STRING OPTIONS (description = "Path of the last event that has one."),
  `channel` STRING OPTIONS (description = "Channel of its first event."),
  `device` STRING OPTIONS (description = "Device class of the first event that states one."),
  `campaign` STRING OPTIONS (description = "Campaign name of the first event that states one."),
  `tracker_session_id` STRING OPTIONS (description = "The tracker's own session id, of the first event that states one."),
  `conversions` INT64 OPTIONS (description = "Conversions in it."),
  `duration` FLOAT64 OPTIONS (description = "Seconds from its first to its last event."),
  `channels` STRING OPTIONS (description = "Channel to the number of its events there."),
  `views` INT64 OPTIONS (description = "Views of a page or screen."),
  `bounced` BOOL OPTIONS (description = "Not engaged, as docs/sessions.md has it: too short, too few views, and no conversion."),
  `engaged_time` FLOAT64 OPTIONS (description = "Seconds of engaged time, from heartbeats or as stated by events; null: nothing told."),
  `strands` INT64 OPTIONS (description = "Strands that took part; more than one is a session across devices, or across a login."),
  `tracker_sessions` INT64 OPTIONS (description = "Tracker sessions inside: how many ids its events state."),
  `revision` INT64 OPTIONS (description = "Grows with every correction of the row of this key."),
  `is_final` BOOL OPTIONS (description = "No late event can change the row any more; identity still may."),
  `is_deleted` BOOL OPTIONS (description = "The key vanished: a tombstone."),
  `sequence` INT64 OPTIONS (description = "Who of two that state the row has it: goes before the revision; null counts as 0."),
  PRIMARY KEY (`session_id`) NOT ENFORCED
)
CLUSTER BY `session_id`
OPTIONS (max_staleness = INTERVAL 15 MINUTE, description = "One row a session of a person, across devices.");

CREATE TABLE IF NOT EXISTS `wayline.device_sessions_rows` (
  `device_session_id` STRING NOT NULL OPTIONS (description = "Hash of its strand and of the id of its first event."),
  `person_id` STRING OPTIONS (description = "Person."),
  `strand_id` STRING OPTIONS (description = "Strand whose session it is."),
  `number` INT64 OPTIONS (description = "Place among the sessions of its strand that the person has, from 1."),
  `session_id` STRING OPTIONS (description = "Session of the person in which it began."),
  `started_at` TIMESTAMP OPTIONS (description = "Time of its first event."),
  `ended_at` TIMESTAMP OPTIONS (description = "Time of its last event; the gap that closed it is not part of it."),
  `events` INT64 OPTIONS (description = "Events in it."),
  `entry_page` STRING OPTIONS (description = "Path of the first event that has one."),
  `exit_page` STRING OPTIONS (description = "Path of the last event that has one."),
  `channel` STRING OPTIONS (description = "Channel of its first event."),
  `device` STRING OPTIONS (description = "Device class of the first event that states one."),
  `campaign` STRING OPTIONS (description = "Campaign name of the first event that states one."),
  `tracker_session_id` STRING OPTIONS (description = "The tracker's own session id, of the first event that states one."),
  `conversions` INT64 OPTIONS (description = "Conversions in it."),
  `duration` FLOAT64 OPTIONS (description = "Seconds from its first to its last event."),
  `channels` STRING OPTIONS (description = "Channel to the number of its events there."),
  `views` INT64 OPTIONS (description = "Views of a page or screen."),
  `bounced` BOOL OPTIONS (description = "Not engaged, as docs/sessions.md has it: too short, too few views, and no conversion."),
  `engaged_time` FLOAT64 OPTIONS (description = "Seconds of engaged time, from heartbeats or as stated by events; null: nothing told."),
  `tracker_sessions` INT64 OPTIONS (description = "Tracker sessions inside: how many ids its events state."),
  `revision` INT64 OPTIONS (description = "Grows with every correction of the row of this key."),
  `is_final` BOOL OPTIONS (description = "No late event can change the row any more; identity still may."),
  `is_deleted` BOOL OPTIONS (description = "The key vanished: a tombstone."),
  `sequence` INT64 OPTIONS (description = "Who of two that state the row has it: goes before the revision; null counts as 0."),
  PRIMARY KEY (`device_session_id`) NOT ENFORCED
)
CLUSTER BY `device_session_id`
OPTIONS (max_staleness = INTERVAL 15 MINUTE, description = "One row a session of one strand of a person, whatever its other devices did.");

CREATE TABLE IF NOT EXISTS `wayline.persons_rows` (
  `person_id` STRING NOT NULL OPTIONS (description = "Canonical id of an identifier; the anchor's is the person's."),
  `first_seen` TIMESTAMP OPTIONS (description = "First event of the person (of the identifier, for an id that is no person)."),
  `last_seen` TIMESTAMP OPTIONS (description = "Last event of the person (of the identifier, for an id that is no person)."),
  `is_current` BOOL NOT NULL OPTIONS (description = "False for an id that is no person, or none any more: see merged_into."),
  `merged_into` STRING OPTIONS (description = "The person an alias stands for; null for a person, and for an id of no events."),
  `revision` INT64 OPTIONS (description = "Grows with every correction of the row of this key."),
  `is_final` BOOL OPTIONS (description = "No late event can change the row any more; identity still may."),
  `is_deleted` BOOL OPTIONS (description = "The key vanished: a tombstone."),
  `sequence` INT64 OPTIONS (description = "Who of two that state the row has it: goes before the revision; null counts as 0."),
  PRIMARY KEY (`person_id`, `is_current`) NOT ENFORCED
)
CLUSTER BY `person_id`
OPTIONS (max_staleness = INTERVAL 15 MINUTE, description = "One row a person, one an alias, one an id that stands for nobody; an id ever shown is here.");

CREATE TABLE IF NOT EXISTS `wayline.identifiers_rows` (
  `namespace` STRING NOT NULL OPTIONS (description = "Kind of identifier."),
  `value` STRING NOT NULL OPTIONS (description = "Pseudonym of the identifier."),
  `person_id` STRING OPTIONS (description = "Person who holds it; for a shared device the owner of its login-less events."),
  `first_seen` TIMESTAMP OPTIONS (description = "First event with it."),
  `last_seen` TIMESTAMP OPTIONS (description = "Last event with it."),
  `revision` INT64 OPTIONS (description = "Grows with every correction of the row of this key."),
  `is_final` BOOL OPTIONS (description = "No late event can change the row any more; identity still may."),
  `is_deleted` BOOL OPTIONS (description = "The key vanished: a tombstone."),
  `sequence` INT64 OPTIONS (description = "Who of two that state the row has it: goes before the revision; null counts as 0."),
  PRIMARY KEY (`namespace`, `value`) NOT ENFORCED
)
CLUSTER BY `namespace`, `value`
OPTIONS (max_staleness = INTERVAL 15 MINUTE, description = "One row an identifier.");

CREATE TABLE IF NOT EXISTS `wayline.edges_rows` (
  `left_namespace` STRING NOT NULL OPTIONS (description = "Kind of the login, or of the primary identifier."),
  `left_value` STRING NOT NULL OPTIONS (description = "Its pseudonym."),
  `right_namespace` STRING NOT NULL OPTIONS (description = "Kind of the other identifier."),
  `right_value` STRING NOT NULL OPTIONS (description = "Its pseudonym."),
  `kind` STRING NOT NULL OPTIONS (description = "What its events say: seen (together), alias, merge or unlink."),
  `accepted` BOOL OPTIONS (description = "Whether the edge holds its ends together."),
  `status` STRING OPTIONS (description = "accepted, refused, removed (by an unlink) or barred (would join an unlinked pair)."),
  `rule` STRING OPTIONS (description = "Rule that accepted or refused it."),
  `conflict` STRING OPTIONS (description = "Identifier that stood against it, as namespace:pseudonym, if one did."),
  `first_time` TIMESTAMP OPTIONS (description = "First event that shows both."),
  `first_event_id` STRING OPTIONS (description = "That event."),
  `last_time` TIMESTAMP OPTIONS (description = "Last event that shows both."),
  `last_event_id` STRING OPTIONS (description = "That event."),
  `received_time` TIMESTAMP OPTIONS (description = "When the first evidence was received."),
  `rules_version` STRING OPTIONS (description = "Identity rules in force."),
  `revision` INT64 OPTIONS (description = "Grows with every correction of the row of this key."),
  `is_final` BOOL OPTIONS (description = "No late event can change the row any more; identity still may."),
  `is_deleted` BOOL OPTIONS (description = "The key vanished: a tombstone."),
  `sequence` INT64 OPTIONS (description = "Who of two that state the row has it: goes before the revision; null counts as 0."),
  PRIMARY KEY (`left_namespace`, `left_value`, `right_namespace`, `right_value`, `kind`) NOT ENFORCED
)
CLUSTER BY `left_namespace`, `left_value`, `right_namespace`, `right_value`
OPTIONS (max_staleness = INTERVAL 15 MINUTE, description = "One row a pair of identifiers and what its events say of it: the ledger of identity.");

CREATE TABLE IF NOT EXISTS `wayline.journeys_rows` (
  `person_id` STRING NOT NULL OPTIONS (description = "Person."),
  `stage` STRING OPTIONS (description = "Stage at the horizon of the run."),
  `since` TIMESTAMP OPTIONS (description = "When the stage was entered."),
  `confidence` FLOAT64 OPTIONS (description = "0 to 1: how sure the deciding side was at the last evaluation."),
  `decided_by` STRING OPTIONS (description = "rules or model."),
  `events` INT64 OPTIONS (description = "Events of the journey."),
  `sessions` INT64 OPTIONS (description = "Sessions of the journey."),
  `conversions` INT64 OPTIONS (description = "Conversions of the journey."),
  `intents` STRING OPTIONS (description = "Intent score of each stage at the horizon."),
  `signals` STRING OPTIONS (description = "Signals with their decayed values at the horizon."),
  `consent` STRING OPTIONS (description = "Purpose to granted: the newest statement; most restrictive where statements tie."),
  `ontology_version` STRING OPTIONS (description = "Ontology in force."),
  `model_version` STRING OPTIONS (description = "Model in force, if any."),
  `horizon` TIMESTAMP OPTIONS (description = "Event time up to which the journey was folded."),
  `revision` INT64 OPTIONS (description = "Grows with every correction of the row of this key."),
  `is_final` BOOL OPTIONS (description = "No late event can change the row any more; identity still may."),
  `is_deleted` BOOL OPTIONS (description = "The key vanished: a tombstone."),
  `sequence` INT64 OPTIONS (description = "Who of two that state the row has it: goes before the revision; null counts as 0."),
  PRIMARY KEY (`person_id`) NOT ENFORCED
)
CLUSTER BY `person_id`
OPTIONS (max_staleness = INTERVAL 15 MINUTE, description = "One row a person: where the journey stands.");

CREATE TABLE IF NOT EXISTS `wayline.transitions_rows` (
  `person_id` STRING NOT NULL OPTIONS (description = "Person."),
  `from_stage` STRING OPTIONS (description = "Stage left; null at the start of the journey."),
  `to_stage` STRING NOT NULL OPTIONS (description = "Stage entered."),
  `at` TIMESTAMP NOT NULL OPTIONS (description = "Event time of the move; for a move made by time alone its computed instant."),
  `session_id` STRING OPTIONS (description = "Session it happened in; null for a move made by time alone."),
  `decided_by` STRING OPTIONS (description = "rules or model."),
  `evidence` STRING OPTIONS (description = "Signals with decayed weights, the event, reason, confidence and versions."),
  `revision` INT64 OPTIONS (description = "Grows with every correction of the row of this key."),
  `is_final` BOOL OPTIONS (description = "No late event can change the row any more; identity still may."),
  `is_deleted` BOOL OPTIONS (description = "The key vanished: a tombstone."),
  `sequence` INT64 OPTIONS (description = "Who of two that state the row has it: goes before the revision; null counts as 0."),
  PRIMARY KEY (`person_id`, `at`, `to_stage`) NOT ENFORCED
)
CLUSTER BY `person_id`, `at`, `to_stage`
OPTIONS (max_staleness = INTERVAL 15 MINUTE, description = "One row a change of stage.");

CREATE TABLE IF NOT EXISTS `wayline.features_rows` (
  `person_id` STRING NOT NULL OPTIONS (description = "Person."),
  `at` TIMESTAMP NOT NULL OPTIONS (description = "Evaluation point."),
  `created` TIMESTAMP OPTIONS (description = "Latest received time among the events used: when the row could first be known."),
  `events_1d` FLOAT64 OPTIONS (description = "Activity in the last day."),
  `events_7d` FLOAT64 OPTIONS (description = "Activity in the last 7 days."),
  `events_30d` FLOAT64 OPTIONS (description = "Activity in the last 30 days."),
  `sessions_7d` FLOAT64 OPTIONS (description = "Sessions begun in the last 7 days."),
  `active_days_30d` FLOAT64 OPTIONS (description = "UTC days with activity, of the last 30."),
  `trend_7d_30d` FLOAT64 OPTIONS (description = "Daily activity of 7 days over that of 30; 1: steady."),
  `days_since_first` FLOAT64 OPTIONS (description = "Days since the first event."),
  `days_since_activity` FLOAT64 OPTIONS (description = "Days since the last activity, at most 60; 60 when there was none."),
  `session_events` FLOAT64 OPTIONS (description = "Activity in the latest session so far."),
  `research_7d` FLOAT64 OPTIONS (description = "Content, categories and searches, 7 days."),
  `ads_30d` FLOAT64 OPTIONS (description = "Advertisements seen and clicked, 30 days."),
  `product_views_7d` FLOAT64 OPTIONS (description = "Looks at products and reviews, 7 days."),
  `comparisons_30d` FLOAT64 OPTIONS (description = "Comparisons made, 30 days."),
  `pricing_views_30d` FLOAT64 OPTIONS (description = "Looks at prices, 30 days."),
  `cart_7d` FLOAT64 OPTIONS (description = "Cart events, 7 days."),
  `checkout_30d` FLOAT64 OPTIONS (description = "Checkout and payment steps, 30 days."),
  `contacts_30d` FLOAT64 OPTIONS (description = "Forms, sales talks and store visits, 30 days."),
  `conversions` FLOAT64 OPTIONS (description = "Conversions and renewals ever."),
  `days_since_conversion` FLOAT64 OPTIONS (description = "Days since the last conversion or renewal, at most 365; 365 when there was none."),
  `usage_30d` FLOAT64 OPTIONS (description = "Use of what was bought and of the account, 30 days."),
  `support_30d` FLOAT64 OPTIONS (description = "Support contacts, 30 days."),
  `email_response_30d` FLOAT64 OPTIONS (description = "Opens and clicks among all e-mail events, 30 days."),
  `email_share_30d` FLOAT64 OPTIONS (description = "E-mail among all events, 30 days."),
  `human_share_30d` FLOAT64 OPTIONS (description = "Calls and store among all events, 30 days."),
  `hand_held_share` FLOAT64 OPTIONS (description = "Activity on phone or tablet, whole journey."),
  `hour_regularity` FLOAT64 OPTIONS (description = "1: always at one hour (UTC) of the day; 0: at any."),
  `known` FLOAT64 OPTIONS (description = "1 once a login or a view of the account was seen."),
  `trouble` FLOAT64 OPTIONS (description = "Refunds, complaints and opt-outs ever."),
  `conversion_value` FLOAT64 OPTIONS (description = "Sum of the stated values of conversions, in the currency of the source."),
  `sessions_30d` FLOAT64 OPTIONS (description = "Sessions begun in the last 30 days."),
  `events_per_session_30d` FLOAT64 OPTIONS (description = "Activity for each session, 30 days."),
  `session_minutes` FLOAT64 OPTIONS (description = "Minutes from the first to the last activity of the latest session."),
  `minutes_per_session` FLOAT64 OPTIONS (description = "Mean minutes from first to last activity of a session, all sessions."),
  `single_event_share` FLOAT64 OPTIONS (description = "Sessions of one activity among those before the latest."),
  `session_kinds` FLOAT64 OPTIONS (description = "Depth: kinds of interest (research to checkout, 7) in the latest session."),
  `days_between_sessions` FLOAT64 OPTIONS (description = "Mean days from one session's begin to the next."),
  `content_views_7d` FLOAT64 OPTIONS (description = "Articles, videos and pages of content, 7 days."),
  `searches_7d` FLOAT64 OPTIONS (description = "Searches, 7 days."),
  `product_views_30d` FLOAT64 OPTIONS (description = "Looks at products and reviews, 30 days."),
  `product_trend_7d_30d` FLOAT64 OPTIONS (description = "Daily looks at products of 7 days over those of 30; 1: steady."),
  `pricing_views_7d` FLOAT64 OPTIONS (description = "Looks at prices, 7 days."),
  `pricing_returns_30d` FLOAT64 OPTIONS (description = "Looks at prices in a later session than the look before, 30 days."),
  `days_since_pricing` FLOAT64 OPTIONS (description = "Days since prices were last looked at, at most 60; 60 when never."),
  `carts_since_conversion` FLOAT64 OPTIONS (description = "Cart events since the last conversion or renewal."),
  `email_events_30d` FLOAT64 OPTIONS (description = "E-mail events, 30 days."),
  `email_clicks_30d` FLOAT64 OPTIONS (description = "Clicks in e-mails, 30 days."),
  `days_since_email_response` FLOAT64 OPTIONS (description = "Days since an e-mail was last opened or clicked, at most 60; 60 when never."),
  `human_touches_30d` FLOAT64 OPTIONS (description = "Calls and store events, 30 days."),
  `device_classes` FLOAT64 OPTIONS (description = "Classes of device ever used."),
  `device_switches_30d` FLOAT64 OPTIONS (description = "Activity on another class of device than the activity before, 30 days."),
  `trouble_30d` FLOAT64 OPTIONS (description = "Refunds, complaints and opt-outs, 30 days."),
  `consent_share` FLOAT64 OPTIONS (description = "Purposes granted by the latest event that states consent, among those it names."),
  `days_since_refusal` FLOAT64 OPTIONS (description = "Days since an event last refused a purpose, at most 365; 365 when none did."),
  `made_of` INT64 OPTIONS (description = "Events that the row was made of: the person's first so many, by time and id."),
  `last_event_id` STRING OPTIONS (description = "The last of them."),
  `events_checksum` INT64 OPTIONS (description = "CRC-32 over their ids in that order: of other events it is another."),
  `feature_version` STRING OPTIONS (description = "Version of the feature vector."),
  `code_version` STRING OPTIONS (description = "Version of Wayline that computed it."),
  `revision` INT64 OPTIONS (description = "Grows with every correction of the row of this key."),
  `is_final` BOOL OPTIONS (description = "No late event can change the row any more; identity still may."),
  `is_deleted` BOOL OPTIONS (description = "The key vanished: a tombstone."),
  `sequence` INT64 OPTIONS (description = "Who of two that state the row has it: goes before the revision; null counts as 0."),
  PRIMARY KEY (`person_id`, `at`) NOT ENFORCED
)
CLUSTER BY `person_id`, `at`
OPTIONS (max_staleness = INTERVAL 15 MINUTE, description = "One row an evaluation point: the feature vector.");

CREATE TABLE IF NOT EXISTS `wayline.scores_rows` (
  `person_id` STRING NOT NULL OPTIONS (description = "Person."),
  `at` TIMESTAMP NOT NULL OPTIONS (description = "Evaluation point."),
  `model_version` STRING OPTIONS (description = "Model that scored it."),
  `p_discovery` FLOAT64 OPTIONS (description = "Calibrated probability of stage discovery."),
  `p_consideration` FLOAT64 OPTIONS (description = "Calibrated probability of stage consideration."),
  `p_decision` FLOAT64 OPTIONS (description = "Calibrated probability of stage decision."),
  `p_customer` FLOAT64 OPTIONS (description = "Calibrated probability of stage customer."),
  `revision` INT64 OPTIONS (description = "Grows with every correction of the row of this key."),
  `is_final` BOOL OPTIONS (description = "No late event can change the row any more; identity still may."),
  `is_deleted` BOOL OPTIONS (description = "The key vanished: a tombstone."),
  `sequence` INT64 OPTIONS (description = "Who of two that state the row has it: goes before the revision; null counts as 0."),
  PRIMARY KEY (`person_id`, `at`) NOT ENFORCED
)
CLUSTER BY `person_id`, `at`
OPTIONS (max_staleness = INTERVAL 15 MINUTE, description = "One row a scored evaluation point.");

CREATE TABLE IF NOT EXISTS `wayline.decisions_rows` (
  `decision_id` STRING NOT NULL OPTIONS (description = "Hash of anchor strand, evaluation point and policy slot."),
  `person_id` STRING OPTIONS (description = "Person at the time of the decision."),
  `at` TIMESTAMP OPTIONS (description = "Evaluation point."),
  `trigger` STRING OPTIONS (description = "transition, session or step."),
  `chosen` STRING OPTIONS (description = "Name of the chosen candidate, or nothing."),
  `candidates` STRING OPTIONS (description = "Every candidate and the rule that dropped it."),
  `reason` STRING OPTIONS (description = "Why this was chosen, in words."),
  `policy_version` STRING OPTIONS (description = "Policy in force."),
  `model_version` STRING OPTIONS (description = "Model that scored the point, if any."),
  `propensity` FLOAT64 OPTIONS (description = "Probability with which the policy would choose this here."),
  `slot` STRING OPTIONS (description = "Policy slot: one decision a moment and slot."),
  `stage` STRING OPTIONS (description = "Stage at the time."),
  `channel` STRING OPTIONS (description = "Channel of the chosen candidate."),
  `plan` STRING OPTIONS (description = "Plan it belongs to, if any."),
  `plan_step` INT64 OPTIONS (description = "Step of that plan, from 0."),
  `anchor_strand` STRING OPTIONS (description = "Strand whose event triggered it."),
  `session_id` STRING OPTIONS (description = "Session it happened in, if any."),
  `ontology_version` STRING OPTIONS (description = "Ontology in force."),
  `features` STRING OPTIONS (description = "The features it saw."),
  `facts` STRING OPTIONS (description = "The journey facts it saw."),
  `consent` STRING OPTIONS (description = "The consent it saw."),
  `revision` INT64 OPTIONS (description = "Grows with every correction of the row of this key."),
  `is_final` BOOL OPTIONS (description = "No late event can change the row any more; identity still may."),
  `is_deleted` BOOL OPTIONS (description = "The key vanished: a tombstone."),
  `sequence` INT64 OPTIONS (description = "Who of two that state the row has it: goes before the revision; null counts as 0."),
  PRIMARY KEY (`decision_id`) NOT ENFORCED
)
CLUSTER BY `decision_id`
OPTIONS (max_staleness = INTERVAL 15 MINUTE, description = "One row a decision, also for doing nothing.");

CREATE TABLE IF NOT EXISTS `wayline.actions_rows` (
  `action_id` STRING NOT NULL OPTIONS (description = "Hash of decision and channel."),
  `decision_id` STRING OPTIONS (description = "Decision it carries out."),
  `channel` STRING OPTIONS (description = "Channel."),
  `status` STRING OPTIONS (description = "sent, suppressed, failed, pending, in_doubt."),
  `at` TIMESTAMP OPTIONS (description = "Decision time for dry runs and suppressions, time of sending otherwise."),
  `person_id` STRING OPTIONS (description = "Person at the time of sending."),
  `template` STRING OPTIONS (description = "What was sent."),
  `reason` STRING OPTIONS (description = "Why it was not sent, or what the channel answered."),
  `attempts` INT64 OPTIONS (description = "Sends tried."),
  `revision` INT64 OPTIONS (description = "Grows with every correction of the row of this key."),
  `is_final` BOOL OPTIONS (description = "No late event can change the row any more; identity still may."),
  `is_deleted` BOOL OPTIONS (description = "The key vanished: a tombstone."),
  `sequence` INT64 OPTIONS (description = "Who of two that state the row has it: goes before the revision; null counts as 0."),
  PRIMARY KEY (`action_id`) NOT ENFORCED
)
CLUSTER BY `action_id`
OPTIONS (max_staleness = INTERVAL 15 MINUTE, description = "One row an action.");

CREATE TABLE IF NOT EXISTS `wayline.outcomes_rows` (
  `outcome_id` STRING NOT NULL OPTIONS (description = "Id of the event that reported it."),
  `action_id` STRING OPTIONS (description = "Action it answers; null for a conversion that names none."),
  `kind` STRING OPTIONS (description = "delivered, opened, clicked, converted, accepted, rejected, complained, unsubscribed."),
  `at` TIMESTAMP OPTIONS (description = "Event time of the outcome."),
  `person_id` STRING OPTIONS (description = "Person."),
  `value` FLOAT64 OPTIONS (description = "Value of a conversion, in the currency of the source, if stated."),
  `revision` INT64 OPTIONS (description = "Grows with every correction of the row of this key."),
  `is_final` BOOL OPTIONS (description = "No late event can change the row any more; identity still may."),
  `is_deleted` BOOL OPTIONS (description = "The key vanished: a tombstone."),
  `sequence` INT64 OPTIONS (description = "Who of two that state the row has it: goes before the revision; null counts as 0."),
  PRIMARY KEY (`outcome_id`) NOT ENFORCED
)
CLUSTER BY `outcome_id`
OPTIONS (max_staleness = INTERVAL 15 MINUTE, description = "One row an outcome.");

CREATE TABLE IF NOT EXISTS `wayline.labels_rows` (
  `decision_id` STRING NOT NULL OPTIONS (description = "Decision, or the id of a logged one."),
  `outcome` STRING OPTIONS (description = "converted, or none: an explicit negative."),
  `at` TIMESTAMP OPTIONS (description = "Time of the outcome; of maturity for a negative."),
  `matured_at` TIMESTAMP OPTIONS (description = "End of the maturity window."),
  `person_id` STRING OPTIONS (description = "Person."),
  `arm` STRING OPTIONS (description = "What was chosen."),
  `propensity` FLOAT64 OPTIONS (description = "Probability with which it was chosen."),
  `origin` STRING OPTIONS (description = "policy or logged."),
  `decided_at` TIMESTAMP OPTIONS (description = "Time of the decision."),
  `revision` INT64 OPTIONS (description = "Grows with every correction of the row of this key."),
  `is_final` BOOL OPTIONS (description = "No late event can change the row any more; identity still may."),
  `is_deleted` BOOL OPTIONS (description = "The key vanished: a tombstone."),
  `sequence` INT64 OPTIONS (description = "Who of two that state the row has it: goes before the revision; null counts as 0."),
  PRIMARY KEY (`decision_id`) NOT ENFORCED
)
CLUSTER BY `decision_id`
OPTIONS (max_staleness = INTERVAL 15 MINUTE, description = "One row a matured decision.");

CREATE TABLE IF NOT EXISTS `wayline.dead_letters_rows` (
  `dead_letter_id` STRING NOT NULL OPTIONS (description = "Keyed hash of stage, reason and payload."),
  `stage` STRING OPTIONS (description = "Stage that rejected it."),
  `reason` STRING OPTIONS (description = "Code from the closed list in docs/dead_letters.md."),
  `source` STRING OPTIONS (description = "System or file it came from."),
  `schema_id` STRING OPTIONS (description = "Fingerprint of the schema it claimed."),
  `at` TIMESTAMP OPTIONS (description = "Received time; null for what states none, such as a damaged part of a file."),
  `detail` STRING OPTIONS (description = "What exactly was wrong, without personal data."),
  `payload_schema` STRING OPTIONS (description = "What the payload decrypts to: event, protected_event, raw or row."),
  `payload` BYTES OPTIONS (description = "The whole payload, encrypted."),
  `revision` INT64 OPTIONS (description = "Grows with every correction of the row of this key."),
  `is_final` BOOL OPTIONS (description = "No late event can change the row any more; identity still may."),
  `is_deleted` BOOL OPTIONS (description = "The key vanished: a tombstone."),
  `sequence` INT64 OPTIONS (description = "Who of two that state the row has it: goes before the revision; null counts as 0."),
  PRIMARY KEY (`dead_letter_id`) NOT ENFORCED
)
CLUSTER BY `dead_letter_id`
OPTIONS (max_staleness = INTERVAL 15 MINUTE, description = "One row a rejected unit, whole and replayable.");

CREATE TABLE IF NOT EXISTS `wayline.expired_late_rows` (
  `dead_letter_id` STRING NOT NULL OPTIONS (description = "Keyed hash of stage, reason and payload."),
  `stage` STRING OPTIONS (description = "Stage that rejected it."),
  `reason` STRING OPTIONS (description = "Code from the closed list in docs/dead_letters.md."),
  `source` STRING OPTIONS (description = "System or file it came from."),
  `schema_id` STRING OPTIONS (description = "Fingerprint of the schema it claimed."),
  `at` TIMESTAMP OPTIONS (description = "Received time; null for what states none, such as a damaged part of a file."),
  `detail` STRING OPTIONS (description = "What exactly was wrong, without personal data."),
  `payload_schema` STRING OPTIONS (description = "What the payload decrypts to: event, protected_event, raw or row."),
  `payload` BYTES OPTIONS (description = "The whole payload, encrypted."),
  `revision` INT64 OPTIONS (description = "Grows with every correction of the row of this key."),
  `is_final` BOOL OPTIONS (description = "No late event can change the row any more; identity still may."),
  `is_deleted` BOOL OPTIONS (description = "The key vanished: a tombstone."),
  `sequence` INT64 OPTIONS (description = "Who of two that state the row has it: goes before the revision; null counts as 0."),
  PRIMARY KEY (`dead_letter_id`) NOT ENFORCED
)
CLUSTER BY `dead_letter_id`
OPTIONS (max_staleness = INTERVAL 15 MINUTE, description = "One row an event that came later than the lateness bound, whole.");

CREATE TABLE IF NOT EXISTS `wayline.run_ledger_rows` (
  `run_id` STRING NOT NULL OPTIONS (description = "Run."),
  `source` STRING NOT NULL OPTIONS (description = "Source as the events name it; of what could not be read, the file."),
  `received` INT64 OPTIONS (description = "Units the source handed out, counted there."),
  `accepted` INT64 OPTIONS (description = "New events in the tables."),
  `duplicate` INT64 OPTIONS (description = "Events already known."),
  `dead_lettered` INT64 OPTIONS (description = "Units in dead_letters."),
  `expired_late` INT64 OPTIONS (description = "Events in expired_late."),
  `erased` INT64 OPTIONS (description = "Events erased on request, every copy of them."),
  `after_horizon` INT64 OPTIONS (description = "Events after --as-of, left for a later run; not part of received."),
  `revision` INT64 OPTIONS (description = "Grows with every correction of the row of this key."),
  `is_final` BOOL OPTIONS (description = "No late event can change the row any more; identity still may."),
  `is_deleted` BOOL OPTIONS (description = "The key vanished: a tombstone."),
  `sequence` INT64 OPTIONS (description = "Who of two that state the row has it: goes before the revision; null counts as 0."),
  PRIMARY KEY (`run_id`, `source`) NOT ENFORCED
)
CLUSTER BY `run_id`, `source`
OPTIONS (max_staleness = INTERVAL 15 MINUTE, description = "One row a run and source: received = accepted + duplicate + dead_lettered + expired_late + erased.");

CREATE TABLE IF NOT EXISTS `wayline.log_rows` (
  `event_id` STRING NOT NULL,
  `event_time` TIMESTAMP,
  `received_time` TIMESTAMP,
  `source` STRING,
  `primary_namespace` STRING NOT NULL,
  `primary_value` STRING NOT NULL,
  `login_namespace` STRING,
  `login_value` STRING,
  `event` BYTES,
  `schema_version` INT64,
  `revision` INT64 OPTIONS (description = "Grows with every correction of the row of this key."),
  `is_final` BOOL OPTIONS (description = "No late event can change the row any more; identity still may."),
  `is_deleted` BOOL OPTIONS (description = "The key vanished: a tombstone."),
  `sequence` INT64 OPTIONS (description = "Who of two that state the row has it: goes before the revision; null counts as 0."),
  PRIMARY KEY (`event_id`, `primary_namespace`, `primary_value`) NOT ENFORCED
)
CLUSTER BY `event_id`, `primary_namespace`, `primary_value`
OPTIONS (max_staleness = INTERVAL 15 MINUTE, description = "The event log as a stream states it: no table of the views.");

CREATE TABLE IF NOT EXISTS `wayline.stream_horizon` (
  `horizon` INT64,
  `lateness` INT64,
  `silence` INT64
);
