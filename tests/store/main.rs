//! One behaviour suite for every store: what [`Store`](drydock::store::Store) promises, checked from outside.
//!
//! A behaviour is a function over a [`Backend`](fixture::Backend); [`behaviours`] makes a test of each on one
//! backend. A behaviour that no list names does not compile without a warning.

#[cfg(test)]
mod concurrency;
#[cfg(test)]
mod create;
#[cfg(test)]
mod events;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod leases;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod plans;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod sqlite;
#[cfg(test)]
mod write;

/// Makes a test of every behaviour on one backend.
macro_rules! behaviours {
    ($backend:expr) => {
        behaviours!(@each $backend;
            create {
                what_was_accepted_is_read_back,
                accepted_jobs_survive_a_restart,
                a_busy_target_refuses_and_names_the_holder,
                a_second_job_queues_up_to_the_bound,
                nobody_overtakes_the_waiting,
                one_request_cannot_take_a_target_twice,
                the_same_request_answers_the_same_jobs,
                a_replay_after_the_end_starts_nothing,
                a_key_for_something_else_is_refused,
                what_made_no_job_is_tried_anew,
                places_in_a_request_are_kept_apart,
                a_job_that_is_born_ended_holds_nothing,
                an_id_made_twice_harms_only_itself,
                a_change_beside_a_job_is_of_the_same_commit,
                what_makes_no_job_changes_nothing_beside_it,
                of_two_jobs_beside_one_change_one_is_made,
            }
            write {
                a_change_is_read_back,
                a_stale_write_changes_nothing,
                a_missing_job_is_told,
                one_bad_entry_harms_no_other,
                an_ended_job_frees_its_target,
                a_queued_job_takes_the_free_target,
                a_target_is_not_taken_twice,
                who_waits_longest_comes_first,
                a_target_changes_hands_in_one_write,
                a_job_moves_twice_in_one_write,
                what_follows_a_stale_change_is_stale_too,
                a_change_without_event_is_silent,
                a_password_is_kept_until_erased,
            }
            events {
                events_are_numbered_per_job_and_over_all,
                a_request_is_one_commit,
                a_commit_is_never_cut,
                positions_go_on_after_a_restart,
                the_newest_position_wakes,
                events_carry_what_filters_need,
                refused_writes_leave_no_event,
            }
            lists {
                pages_are_complete_and_in_order,
                pages_are_stable_under_inserts,
                every_filter_matches_what_it_says,
                filters_combine,
                a_token_fits_only_its_list,
                many_values_give_the_same_list,
                live_jobs_come_by_provider_in_id_order,
                live_jobs_are_counted,
            }
            leases {
                replicas_see_each_other,
                what_is_watched_through_a_replica_is_shown_to_all,
                a_lease_has_one_holder,
                one_of_many_wins_a_lease,
                who_is_not_there_takes_nothing,
                a_lease_runs_out_and_passes_on_with_a_higher_fence,
                attending_prolongs_what_is_held,
                giving_up_lets_the_next_one_in_at_once,
                leaving_gives_everything_up,
                a_write_under_an_old_fence_is_refused,
                a_guard_covers_its_own_provider_only,
                a_fence_is_good_for_its_holder_alone,
                who_held_a_lease_that_ran_out_is_told_and_who_gave_it_up_is_not,
                reports_of_the_holder_are_shown_to_all,
            }
            retention {
                a_purge_leaves_live_jobs_alone,
                old_jobs_go_first_and_in_steps,
                only_so_many_ended_jobs_are_kept,
                a_reader_behind_a_purge_is_told,
                a_purged_request_key_is_new_again,
                the_jobs_of_one_request_go_together,
                a_key_that_made_no_job_goes_by_its_age,
                a_job_of_many_events_goes_in_several_steps,
                a_step_ends_between_jobs_when_their_events_are_too_many,
            }
            concurrency {
                many_callers_lose_nothing,
                nothing_old_is_shown,
                one_of_many_wins_a_target,
                one_of_many_wins_a_version,
                a_group_sees_its_earlier_writes,
                one_key_makes_one_job,
                closing_finishes_what_was_let_in,
                a_closed_store_says_so,
                a_store_that_works_answers_a_ping,
            }
        );
    };
    (@each $backend:expr; $($module:ident { $($name:ident),* $(,)? })*) => {
        $(mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    crate::$module::$name(&$backend).await;
                }
            )*
        })*
    };
}

mod on_sqlite {
    behaviours!(crate::sqlite::Sqlite::new());
}

mod on_postgres {
    behaviours!(crate::postgres::Postgres::new());
}
