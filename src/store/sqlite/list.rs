//! Lists of jobs: from a filter to one statement that walks indexes in the list's order.
//!
//! A list must cost what its page holds, not what the table holds. So one condition of the filter leads: for
//! each of its values, the index that begins with that column is walked in (time, id) order and cut at the
//! page's size, and the cuts are merged. The filter's other conditions are checked on the way.

use sqlx::QueryBuilder;
use sqlx::sqlite::Sqlite;

use super::save::bytes;
use crate::store::contract::JobFilter;
use crate::store::page_token::After;
use crate::store::record::ceil_micros;

/// With more values than this, the leading condition's jobs are looked up and sorted instead of merged.
const MAX_BRANCHES: usize = 64;

/// The condition of a filter that leads, with its values.
enum Lead {
    /// All jobs by time.
    Time,
    /// A column with an index `jobs_by_{column}`.
    Column(&'static str, Vec<String>),
    /// One label.
    Label(String, String),
    /// The jobs by id; few enough to sort.
    Ids,
}

impl Lead {
    /// Picks what is likely to match the fewest jobs.
    fn of(filter: &JobFilter) -> Self {
        let live_only = || filter.states.iter().all(|state| !state.is_ended());
        if !filter.jobs.is_empty() {
            Self::Ids
        } else if !filter.targets.is_empty() {
            Self::Column("target", targets(filter))
        } else if let Some((key, value)) = filter.labels.first_key_value() {
            Self::Label(key.clone(), value.clone())
        } else if !filter.states.is_empty() && (live_only() || filter.providers.is_empty()) {
            Self::Column("state", states(filter))
        } else if !filter.providers.is_empty() {
            Self::Column("provider", providers(filter))
        } else if !filter.operations.is_empty() {
            Self::Column("operation", operations(filter))
        } else {
            Self::Time
        }
    }
}

/// The statement that lists at most `limit` jobs of `filter` after `after`.
pub(super) fn statement(filter: &JobFilter, after: Option<After>, limit: i64) -> QueryBuilder<Sqlite> {
    let order = if filter.oldest_first { "ASC" } else { "DESC" };
    let list = List { filter, after, limit, order };
    let mut sql = QueryBuilder::new(
        "SELECT j.id, j.version, j.sequence, j.spec, j.status, j.control FROM (SELECT create_time, id FROM (",
    );
    match Lead::of(filter) {
        Lead::Time => list.branch(&mut sql, "jobs AS j INDEXED BY jobs_by_time", |_| {}),
        Lead::Column(column, values) if values.len() <= MAX_BRANCHES => {
            for (place, value) in values.into_iter().enumerate() {
                if place > 0 {
                    sql.push(" UNION ALL ");
                }
                let from = format!("jobs AS j INDEXED BY jobs_by_{column}");
                list.branch(&mut sql, &from, |sql| {
                    sql.push(format_args!(" AND j.{column} = ")).push_bind(value);
                });
            }
        }
        Lead::Column(column, values) => {
            let from = format!("jobs AS j INDEXED BY jobs_by_{column}");
            list.branch(&mut sql, &from, |sql| any(sql, &format!("j.{column}"), values));
        }
        Lead::Label(key, value) => {
            // CROSS JOIN: the labels lead. Their rows carry the time, so they are in the list's order too.
            list.labelled(&mut sql, key, value);
        }
        Lead::Ids => {
            // The primary key's own index: the one on time must not lead here.
            list.branch(&mut sql, "jobs AS j INDEXED BY sqlite_autoindex_jobs_1", |sql| {
                any(sql, "j.id", filter.jobs.iter().map(|id| bytes(*id)).collect());
            });
        }
    }
    sql.push(format_args!(") ORDER BY create_time {order}, id {order} LIMIT ")).push_bind(limit);
    sql.push(format_args!(
        ") AS k CROSS JOIN jobs AS j ON j.id = k.id ORDER BY k.create_time {order}, k.id {order}"
    ));
    sql
}

struct List<'f> {
    filter: &'f JobFilter,
    after: Option<After>,
    limit: i64,
    order: &'static str,
}

impl List<'_> {
    /// One walk along one index, cut at the page's size.
    fn branch(
        &self,
        sql: &mut QueryBuilder<Sqlite>,
        from: &str,
        lead: impl FnOnce(&mut QueryBuilder<Sqlite>),
    ) {
        sql.push(format_args!(
            "SELECT * FROM (SELECT j.create_time AS create_time, j.id AS id FROM {from} WHERE TRUE"
        ));
        lead(sql);
        self.rest(sql, "j.create_time", "j.id");
        self.cut(sql, "j.create_time", "j.id");
    }

    fn labelled(&self, sql: &mut QueryBuilder<Sqlite>, key: String, value: String) {
        sql.push(
            "SELECT * FROM (SELECT l.create_time AS create_time, l.job AS id FROM job_labels AS l \
             CROSS JOIN jobs AS j ON j.id = l.job WHERE l.key = ",
        );
        sql.push_bind(key).push(" AND l.value = ").push_bind(value);
        self.rest(sql, "l.create_time", "l.job");
        self.cut(sql, "l.create_time", "l.job");
    }

    fn cut(&self, sql: &mut QueryBuilder<Sqlite>, time: &str, id: &str) {
        let order = self.order;
        sql.push(format_args!(" ORDER BY {time} {order}, {id} {order} LIMIT "))
            .push_bind(self.limit)
            .push(")");
    }

    /// Every condition of the filter, and the place where the page begins. `time` and `id` are the columns of
    /// the index that is walked.
    fn rest(&self, sql: &mut QueryBuilder<Sqlite>, time: &str, id: &str) {
        let filter = self.filter;
        any_plus(sql, "j.target", targets(filter));
        any_plus(sql, "j.provider", providers(filter));
        any_plus(sql, "j.state", states(filter));
        any_plus(sql, "j.operation", operations(filter));
        for (key, value) in &filter.labels {
            sql.push(
                " AND EXISTS (SELECT 1 FROM job_labels AS m WHERE m.job = j.id \
                 AND m.create_time = j.create_time AND m.key = ",
            );
            sql.push_bind(key.clone()).push(" AND m.value = ").push_bind(value.clone()).push(")");
        }
        // The place where the page begins lies inside the bounds already, so it stands for one of them: with
        // two bounds on one side, SQLite might walk from the wider one.
        let (oldest, newest) = (filter.created_after, filter.created_before);
        if let Some(at) = oldest.filter(|_| !(filter.oldest_first && self.after.is_some())) {
            sql.push(format_args!(" AND {time} >= ")).push_bind(ceil_micros(at));
        }
        if let Some(at) = newest.filter(|_| filter.oldest_first || self.after.is_none()) {
            sql.push(format_args!(" AND {time} < ")).push_bind(ceil_micros(at));
        }
        if let Some(after) = self.after {
            let beyond = if filter.oldest_first { ">" } else { "<" };
            sql.push(format_args!(" AND ({time}, {id}) {beyond} ("));
            sql.push_bind(after.create_time).push(", ").push_bind(bytes(after.id)).push(")");
        }
    }
}

/// `AND column IN (…)`.
fn any<T>(sql: &mut QueryBuilder<Sqlite>, column: &str, values: Vec<T>)
where
    T: for<'t> sqlx::Encode<'t, Sqlite> + sqlx::Type<Sqlite>,
{
    sql.push(format_args!(" AND {column} IN ("));
    let mut list = sql.separated(", ");
    for value in values {
        list.push_bind(value);
    }
    sql.push(")");
}

/// The same as a check that leads no walk (unary plus keeps SQLite from using an index), nothing for no values.
fn any_plus(sql: &mut QueryBuilder<Sqlite>, column: &str, values: Vec<String>) {
    if !values.is_empty() {
        any(sql, &format!("+{column}"), values);
    }
}

fn targets(filter: &JobFilter) -> Vec<String> {
    unique(filter.targets.iter().map(ToString::to_string))
}

fn providers(filter: &JobFilter) -> Vec<String> {
    unique(filter.providers.iter().map(|provider| provider.as_str().to_owned()))
}

fn states(filter: &JobFilter) -> Vec<String> {
    unique(filter.states.iter().map(|state| state.as_str().to_owned()))
}

fn operations(filter: &JobFilter) -> Vec<String> {
    unique(filter.operations.iter().map(|operation| operation.as_str().to_owned()))
}

/// A value that a filter names twice must not be merged twice.
fn unique(values: impl Iterator<Item = String>) -> Vec<String> {
    values.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}
