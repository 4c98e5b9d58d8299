//! What placement remembers of the jobs that rewrite sources of rows (`docs/flush.md`).
//!
//! Invariant: of every row of an input that was deleted after the job's `as_of`, the deletion is in one
//! of the job's records. A deletion is placed either before the job's begin, and then the job reads it,
//! or after, and then it is remembered here until a record of the job takes it along.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use glaredb_txn::{
    commit::message::Refusal,
    ids::{CommitId, JobId, Locator, SegmentId, TableId, Timestamp},
};

use crate::storage::{
    record::{Edit, JobBegin, JobDeletions, Section},
    remap::{NewPlace, Remap},
    state::State,
};

/// Deletions that a record of a job takes along: what they add to it is less than placement may.
const TAKEN_ALONG_MAX: usize = 2_500;

/// Jobs as the leader knows them, the tail included.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    open: BTreeMap<JobId, OpenJob>,
    /// Who rewrites a source.
    inputs: HashMap<SegmentId, JobId>,
    /// Sources that edits took out, and when: what sessions may still name, whose snapshots are older.
    removed: HashMap<SegmentId, Timestamp>,
    /// Sources that the parts of commits under way delete from.
    parts: HashMap<CommitId, HashSet<SegmentId>>,
    /// Jobs under which segments were written that the parts of commits under way bring.
    staged: HashMap<CommitId, BTreeSet<JobId>>,
}

#[derive(Debug)]
struct OpenJob {
    table: TableId,
    inputs: Vec<SegmentId>,
    /// Deletions of rows of the inputs, oldest first.
    remembered: Vec<(Locator, Timestamp)>,
    /// A large commit under way deletes from an input: when it will, and what, is not known.
    overtaken: bool,
}

impl OpenJob {
    fn check_not_overtaken(&self, id: JobId) -> Result<(), Refusal> {
        match self.overtaken {
            true => Err(late(&format!("a large commit deletes rows of what {id} rewrites"))),
            false => Ok(()),
        }
    }
}

impl Jobs {
    /// Do these sections delete rows only by places that these still have?
    pub(super) fn check(&self, sections: &[Section<'_>]) -> Result<(), Refusal> {
        if self.removed.is_empty() {
            return Ok(());
        }
        for section in sections {
            for row in section.deletes.iter() {
                let row = row.map_err(super::malformed)?;
                if self.removed.contains_key(&row.locator.segment) {
                    return Err(Refusal::Moved { table: section.table });
                }
            }
        }
        Ok(())
    }

    /// A commit with these sections was placed.
    pub(super) fn committed(&mut self, id: CommitId, sections: &[Section<'_>], at: Timestamp) {
        self.parts.remove(&id);
        for job in self.staged.remove(&id).unwrap_or_default() {
            self.end(job);
        }
        if self.inputs.is_empty() {
            return;
        }
        for row in sections.iter().flat_map(|section| section.deletes.iter()).flatten() {
            let job = self.inputs.get(&row.locator.segment).and_then(|job| self.open.get_mut(job));
            if let Some(job) = job {
                job.remembered.push((row.locator, at));
            }
        }
    }

    /// The sources of which these sections delete rows by bitmaps. Refused where they are gone.
    pub(super) fn check_bitmaps(
        &self,
        sections: &[Section<'_>],
    ) -> Result<Vec<SegmentId>, Refusal> {
        let mut sources = Vec::new();
        for section in sections {
            for (source, _) in section.deletes.bitmaps().map_err(super::malformed)? {
                if self.removed.contains_key(&source) {
                    return Err(Refusal::Moved { table: section.table });
                }
                sources.push(source);
            }
        }
        Ok(sources)
    }

    /// May a segment be brought that was written under this job?
    pub(super) fn check_stage(&self, job: JobId, table: TableId) -> Result<(), Refusal> {
        match self.open.get(&job) {
            Some(open) if open.table == table && open.inputs.is_empty() => Ok(()),
            Some(_) => Err(Refusal::Malformed(format!("{job} does not write rows of {table}"))),
            None => Err(is_over(job)),
        }
    }

    /// Are the objects still there that a commit brings? Whoever ended a job may delete what it wrote.
    pub(super) fn check_staged(&self, id: CommitId) -> Result<(), Refusal> {
        let mut jobs = self.staged.get(&id).into_iter().flatten();
        jobs.find(|job| !self.open.contains_key(job)).map_or(Ok(()), |job| Err(is_over(*job)))
    }

    /// A part that brings a segment of this job was placed.
    pub(super) fn staged(&mut self, id: CommitId, job: JobId) {
        self.staged.entry(id).or_default().insert(job);
    }

    /// A job goes on.
    pub(super) fn renew(&self, job: JobId) -> Result<(), Refusal> {
        if self.open.contains_key(&job) { Ok(()) } else { Err(is_over(job)) }
    }

    /// A part with these sections was placed.
    /// `bitmaps`: those sources of which it deletes very many rows.
    pub(super) fn part(&mut self, id: CommitId, sections: &[Section<'_>], bitmaps: &[SegmentId]) {
        let mut last = None;
        let rows = sections.iter().flat_map(|section| section.deletes.iter()).flatten();
        let rows = rows.map(|row| row.locator.segment);
        for segment in rows.chain(bitmaps.iter().copied()) {
            // Rows of one source come together.
            if last.replace(segment) == Some(segment) {
                continue;
            }
            self.parts.entry(id).or_default().insert(segment);
            if let Some(job) = self.inputs.get(&segment).and_then(|job| self.open.get_mut(job)) {
                job.overtaken = true;
            }
        }
    }

    /// The commit will never be.
    pub(super) fn forget_parts(&mut self, id: CommitId) {
        self.parts.remove(&id);
        self.staged.remove(&id);
    }

    /// Nobody reads below `horizon`, so nobody names what was removed before.
    pub(super) fn raise_horizon(&mut self, horizon: Timestamp) {
        self.removed.retain(|_, at| *at >= horizon);
    }

    /// The table's storage is gone, or its rows are to be sorted otherwise: no edit of its jobs is
    /// taken. Whoever runs them logs their ends.
    pub(super) fn end_those_of(&mut self, table: TableId) {
        let gone: Vec<JobId> =
            self.open.iter().filter(|(_, job)| job.table == table).map(|(id, _)| *id).collect();
        gone.into_iter().for_each(|job| self.end(job));
    }

    pub(super) fn begin(
        &mut self,
        begin: &JobBegin,
        at: Timestamp,
        state: &State,
    ) -> Result<(), Refusal> {
        let job = JobId(at.0);
        let (id, inputs) = (begin.table, begin.inputs.clone());
        let open = OpenJob { table: id, inputs, remembered: Vec::new(), overtaken: false };
        if begin.inputs.is_empty() {
            // It writes rows of a large commit, which may create the table.
            self.open.insert(job, open);
            return Ok(());
        }
        let table = state.table(id).ok_or_else(|| late("the table is gone"))?;
        for input in &begin.inputs {
            if self.inputs.contains_key(input) || self.removed.contains_key(input) {
                return Err(late(&format!("{input} is rewritten by another job")));
            }
            if self.parts.values().any(|parts| parts.contains(input)) {
                return Err(late(&format!("a large commit under way deletes rows of {input}")));
            }
            if !table.is_settled_source(*input) {
                return Err(late(&format!("{input} is gone, or may still get rows")));
            }
        }
        self.inputs.extend(begin.inputs.iter().map(|input| (*input, job)));
        self.open.insert(job, open);
        Ok(())
    }

    /// Ends a job, known or not.
    pub(super) fn end(&mut self, job: JobId) {
        if let Some(job) = self.open.remove(&job) {
            for input in &job.inputs {
                self.inputs.remove(input);
            }
        }
    }

    /// The record for what the job read, and some of what was remembered since.
    pub(super) fn deletions(
        &mut self,
        mut request: JobDeletions,
        state: &State,
    ) -> Result<JobDeletions, Refusal> {
        let id = request.job;
        let (remap, as_of) = notes(state, id)?;
        let job = self.open.get_mut(&id).ok_or_else(|| is_over(id))?;
        job.check_not_overtaken(id)?;
        let taken = job.remembered.len().min(TAKEN_ALONG_MAX);
        let translated = translate(&job.remembered[..taken], &remap, as_of)?;
        job.remembered.drain(..taken);
        request.deletions.extend(translated);
        request.deletions.sort_unstable_by_key(|(place, _)| *place);
        Ok(request)
    }

    /// The edit with what was remembered last. Nothing is changed if it is refused.
    pub(super) fn edit(&self, mut request: Edit, state: &State) -> Result<Edit, Refusal> {
        let id = request.job;
        let (remap, as_of) = notes(state, id)?;
        let job = self.open.get(&id).ok_or_else(|| is_over(id))?;
        job.check_not_overtaken(id)?;
        if job.remembered.len() > TAKEN_ALONG_MAX {
            return Err(late(&format!("{} deletions came meanwhile", job.remembered.len())));
        }
        if (request.table, &request.removed, request.as_of) != (job.table, &job.inputs, as_of) {
            return Err(Refusal::Malformed(format!(
                "{id} removes other sources than it began with"
            )));
        }
        request.deletions.extend(translate(&job.remembered, &remap, as_of)?);
        request.deletions.sort_unstable_by_key(|(place, _)| *place);
        Ok(request)
    }

    /// The edit was placed.
    pub(super) fn edited(&mut self, edit: &Edit, at: Timestamp) {
        self.end(edit.job);
        self.removed.extend(edit.removed.iter().map(|source| (*source, at)));
    }
}

/// What the job noted before it sent its first record.
fn notes(state: &State, job: JobId) -> Result<(std::sync::Arc<Remap>, Timestamp), Refusal> {
    state.notes_of(job).ok_or_else(|| Refusal::Malformed(format!("{job} left no notes")))
}

fn translate(
    deletions: &[(Locator, Timestamp)],
    remap: &Remap,
    as_of: Timestamp,
) -> Result<Vec<(NewPlace, Timestamp)>, Refusal> {
    let later = deletions.iter().filter(|(_, at)| *at > as_of);
    later
        .map(|(locator, at)| {
            // Not deleted at `as_of`, so it is not dead before the horizon, and was not left out.
            let place = remap.get(*locator);
            let place = place.ok_or_else(|| Refusal::Malformed(format!("{locator} was lost")))?;
            Ok((place, *at))
        })
        .collect()
}

fn late(reason: &str) -> Refusal {
    Refusal::TooLate(reason.to_owned())
}

fn is_over(job: JobId) -> Refusal {
    late(&format!("{job} is over"))
}
