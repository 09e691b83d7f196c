//! Lists of jobs: from a filter to one statement that walks indexes in the list's order.
//!
//! A list must cost what its page holds, not what the table holds. So one condition of the filter leads: for
//! each of its values, the index that begins with that column is walked in (time, id) order and cut at the
//! page's size, and the cuts are merged. The filter's other conditions are checked on the way.

use std::marker::PhantomData;

use sqlx::{Database, Encode, QueryBuilder, Type};

use super::contract::JobFilter;
use super::page_token::After;
use super::record::ceil_micros;
use crate::domain::id::JobId;

/// Where databases differ in what a list needs.
pub(super) trait Dialect {
    /// The database.
    type Db: Database;
    /// A job's id as its column holds it.
    type Id: for<'t> Encode<'t, Self::Db> + Type<Self::Db> + Send + 'static;
    /// Joins a second table that is looked up for each row of the first.
    const JOIN: &'static str;
    /// What keeps a check from leading a walk, before a column.
    const CHECK: &'static str;
    /// What makes an index lead the walk, after the table; `None` for the primary key's.
    fn by(column: Option<&str>) -> String;
    /// A job's id as its column holds it.
    fn id(job: JobId) -> Self::Id;
}

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
        } else if !filter.states.is_empty() && live_only() {
            // Few of all that is kept is alive, whatever its labels.
            Self::Column("state", states(filter))
        } else if let Some((key, value)) = filter.labels.first_key_value() {
            Self::Label(key.clone(), value.clone())
        } else if !filter.states.is_empty() && filter.providers.is_empty() {
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
pub(super) fn statement<D: Dialect>(
    filter: &JobFilter,
    after: Option<After>,
    limit: i64,
) -> QueryBuilder<D::Db>
where
    String: for<'t> Encode<'t, D::Db> + Type<D::Db>,
    i64: for<'t> Encode<'t, D::Db> + Type<D::Db>,
{
    let order = if filter.oldest_first { "ASC" } else { "DESC" };
    let list = List::<D> { filter, after, limit, order, dialect: PhantomData };
    let mut sql = QueryBuilder::new(
        "SELECT j.id, j.version, j.sequence, j.spec, j.status, j.control FROM (SELECT create_time, id FROM (",
    );
    match Lead::of(filter) {
        Lead::Time => list.branch(&mut sql, Some("time"), |_| {}),
        Lead::Column(column, values) if values.len() <= MAX_BRANCHES => {
            for (place, value) in values.into_iter().enumerate() {
                if place > 0 {
                    sql.push(" UNION ALL ");
                }
                list.branch(&mut sql, Some(column), |sql| {
                    sql.push(format_args!(" AND j.{column} = ")).push_bind(value);
                });
            }
        }
        Lead::Column(column, values) => {
            list.branch(&mut sql, Some(column), |sql| any(sql, &format!("j.{column}"), values));
        }
        Lead::Label(key, value) => {
            // The labels lead. Their rows carry the time, so they are in the list's order too.
            list.labelled(&mut sql, key, value);
        }
        Lead::Ids => {
            // The primary key's own index: the one on time must not lead here.
            list.branch(&mut sql, None, |sql| {
                any(sql, "j.id", filter.jobs.iter().map(|id| D::id(*id)).collect());
            });
        }
    }
    sql.push(format_args!(") AS u ORDER BY create_time {order}, id {order} LIMIT ")).push_bind(limit);
    sql.push(format_args!(
        ") AS k {} jobs AS j ON j.id = k.id ORDER BY k.create_time {order}, k.id {order}",
        D::JOIN
    ));
    sql
}

struct List<'f, D> {
    filter: &'f JobFilter,
    after: Option<After>,
    limit: i64,
    order: &'static str,
    dialect: PhantomData<D>,
}

impl<D: Dialect> List<'_, D>
where
    String: for<'t> Encode<'t, D::Db> + Type<D::Db>,
    i64: for<'t> Encode<'t, D::Db> + Type<D::Db>,
{
    /// One walk along one index, cut at the page's size.
    fn branch(
        &self,
        sql: &mut QueryBuilder<D::Db>,
        column: Option<&str>,
        lead: impl FnOnce(&mut QueryBuilder<D::Db>),
    ) {
        sql.push(format_args!(
            "SELECT * FROM (SELECT j.create_time AS create_time, j.id AS id FROM jobs AS j{} WHERE TRUE",
            D::by(column)
        ));
        lead(sql);
        self.rest(sql, "j.create_time", "j.id");
        self.cut(sql, "j.create_time", "j.id");
    }

    fn labelled(&self, sql: &mut QueryBuilder<D::Db>, key: String, value: String) {
        sql.push(format_args!(
            "SELECT * FROM (SELECT l.create_time AS create_time, l.job AS id FROM job_labels AS l \
             {} jobs AS j ON j.id = l.job WHERE l.key = ",
            D::JOIN
        ));
        sql.push_bind(key).push(" AND l.value = ").push_bind(value);
        self.rest(sql, "l.create_time", "l.job");
        self.cut(sql, "l.create_time", "l.job");
    }

    fn cut(&self, sql: &mut QueryBuilder<D::Db>, time: &str, id: &str) {
        let order = self.order;
        sql.push(format_args!(" ORDER BY {time} {order}, {id} {order} LIMIT "))
            .push_bind(self.limit)
            .push(") AS x");
    }

    /// Every condition of the filter, and the place where the page begins. `time` and `id` are the columns of
    /// the index that is walked.
    fn rest(&self, sql: &mut QueryBuilder<D::Db>, time: &str, id: &str) {
        let filter = self.filter;
        Self::check(sql, "j.target", targets(filter));
        Self::check(sql, "j.provider", providers(filter));
        Self::check(sql, "j.state", states(filter));
        Self::check(sql, "j.operation", operations(filter));
        for (key, value) in &filter.labels {
            sql.push(
                " AND EXISTS (SELECT 1 FROM job_labels AS m WHERE m.job = j.id \
                 AND m.create_time = j.create_time AND m.key = ",
            );
            sql.push_bind(key.clone()).push(" AND m.value = ").push_bind(value.clone()).push(")");
        }
        // The place where the page begins lies inside the bounds already, so it stands for one of them: with
        // two bounds on one side, a database might walk from the wider one.
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
            sql.push_bind(after.create_time).push(", ").push_bind(D::id(after.id)).push(")");
        }
    }

    /// A check that leads no walk; nothing for no values.
    fn check(sql: &mut QueryBuilder<D::Db>, column: &str, values: Vec<String>) {
        if !values.is_empty() {
            any(sql, &format!("{}{column}", D::CHECK), values);
        }
    }
}

/// `AND column IN (…)`.
fn any<Db, T>(sql: &mut QueryBuilder<Db>, column: &str, values: Vec<T>)
where
    Db: Database,
    T: for<'t> Encode<'t, Db> + Type<Db>,
{
    sql.push(format_args!(" AND {column} IN ("));
    let mut list = sql.separated(", ");
    for value in values {
        list.push_bind(value);
    }
    sql.push(")");
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
