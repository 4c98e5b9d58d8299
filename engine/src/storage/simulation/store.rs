//! Objects in a store that is reached over a network, as one sees it from this side: a request fails,
//! gets no answer and was done all the same, or is done later, or takes long. What it says of what is
//! there is true when it says it.

use std::{
    future::poll_fn,
    ops::{AddAssign, Range},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use glaredb_txn::sim::{Rng, SimEnv};
use parking_lot::Mutex;

use crate::storage::objects::{ObjectEntry, ObjectError, ObjectName, ObjectWrite, Objects};

/// How the store is now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mood {
    Well,
    /// Some requests fail, in every way.
    Flaky,
    /// All do, and nothing is done.
    Away,
}

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Done,
    /// It fails and is not done.
    Lost,
    /// It is done, and the answer does not come.
    Unanswered,
    /// The same, some time after it was given up.
    Late,
}

/// Requests that went otherwise than they should.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Mishaps {
    pub(super) lost: u64,
    pub(super) unanswered: u64,
    pub(super) late: u64,
    /// Waits, of which some are longer than a job may take.
    pub(super) stalls: u64,
}

impl AddAssign for Mishaps {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.unanswered += other.unanswered;
        self.late += other.late;
        self.stalls += other.stalls;
    }
}

/// A request that nobody waits for any more.
enum LateRequest {
    Write(Box<dyn ObjectWrite + Send>),
    Delete(Arc<dyn Objects>, ObjectName),
}

impl LateRequest {
    fn happen(self) {
        // Nobody would hear of an error.
        let _ = match self {
            Self::Write(object) => object.finish(),
            Self::Delete(objects, name) => objects.delete(&name),
        };
    }
}

/// What the store does to those who ask, drawn from a seed. Outlives the processes that ask.
pub(super) struct Weather {
    sim: SimEnv,
    drawn: Mutex<Drawn>,
}

struct Drawn {
    rng: Rng,
    mood: Mood,
    late: Vec<LateRequest>,
    mishaps: Mishaps,
}

impl Weather {
    pub(super) fn new(sim: &SimEnv, seed: u64) -> Arc<Self> {
        let drawn = Drawn {
            rng: Rng::new(Rng::new(seed ^ 0x5703).next_u64()),
            mood: Mood::Well,
            late: Vec::new(),
            mishaps: Mishaps::default(),
        };
        Arc::new(Self { sim: sim.clone(), drawn: Mutex::new(drawn) })
    }

    /// A store behind this weather.
    pub(super) fn store(self: &Arc<Self>, behind: Arc<dyn Objects>) -> Arc<dyn Objects> {
        Arc::new(Store { weather: Arc::clone(self), behind })
    }

    /// Now and then it changes, and late requests are done.
    pub(super) fn pass(&self) {
        let late = {
            let mut drawn = self.drawn.lock();
            if drawn.rng.chance(1, 100) {
                let moods = [Mood::Well, Mood::Flaky, Mood::Flaky, Mood::Away];
                drawn.mood = moods[drawn.rng.index(moods.len())];
            }
            let count = drawn.late.len();
            (count > 0 && drawn.rng.chance(1, 20)).then(|| {
                let at = drawn.rng.index(count);
                drawn.late.swap_remove(at)
            })
        };
        if let Some(late) = late {
            late.happen();
        }
    }

    /// The process is about to end: what it asked for is done by now, or never will be.
    pub(super) fn end_of_process(&self) {
        let late = {
            let mut drawn = self.drawn.lock();
            drawn.mood = Mood::Well;
            let late = std::mem::take(&mut drawn.late);
            let done = late.into_iter().filter(|_| drawn.rng.chance(1, 2));
            done.collect::<Vec<_>>()
        };
        late.into_iter().for_each(LateRequest::happen);
    }

    pub(super) fn mishaps(&self) -> Mishaps {
        self.drawn.lock().mishaps
    }

    fn fate(&self) -> Fate {
        let mut drawn = self.drawn.lock();
        let fate = match drawn.mood {
            Mood::Well => Fate::Done,
            Mood::Away => Fate::Lost,
            Mood::Flaky => match drawn.rng.below(100) {
                0..80 => Fate::Done,
                80..90 => Fate::Lost,
                90..95 => Fate::Unanswered,
                _ => Fate::Late,
            },
        };
        match fate {
            Fate::Done => {}
            Fate::Lost => drawn.mishaps.lost += 1,
            Fate::Unanswered => drawn.mishaps.unanswered += 1,
            Fate::Late => drawn.mishaps.late += 1,
        }
        fate
    }

    /// Of a request that changes nothing: does it fail?
    fn fails(&self) -> bool {
        self.fate() != Fate::Done
    }

    /// A request that blocks whoever asks takes as long, now and then longer than a job may go on.
    fn delay(&self) {
        let millis = {
            let mut drawn = self.drawn.lock();
            if drawn.mood == Mood::Well || !drawn.rng.chance(1, 20) {
                return;
            }
            drawn.mishaps.stalls += 1;
            drawn.rng.below(4_000)
        };
        self.sim.clock.advance(Duration::from_millis(millis));
    }

    /// Times that an answer is asked for in vain.
    fn stall(&self) -> u64 {
        let mut drawn = self.drawn.lock();
        if drawn.mood == Mood::Well || !drawn.rng.chance(1, 20) {
            return 0;
        }
        drawn.mishaps.stalls += 1;
        drawn.rng.below(800)
    }

    fn later(&self, request: LateRequest) {
        self.drawn.lock().late.push(request);
    }
}

struct Store {
    weather: Arc<Weather>,
    behind: Arc<dyn Objects>,
}

fn no_answer(name: &str) -> ObjectError {
    ObjectError::Io { name: name.to_owned(), reason: "no answer came".to_owned() }
}

impl Store {
    fn read<T>(
        &self,
        name: &str,
        read: impl FnOnce() -> Result<T, ObjectError>,
    ) -> Result<T, ObjectError> {
        self.weather.delay();
        if self.weather.fails() { Err(no_answer(name)) } else { read() }
    }
}

impl Objects for Store {
    fn create(&self, name: &ObjectName) -> Result<Box<dyn ObjectWrite + Send>, ObjectError> {
        let object = self.behind.create(name)?;
        let weather = Arc::clone(&self.weather);
        Ok(Box::new(Upload { weather, object, name: name.clone() }))
    }

    fn get(&self, name: &ObjectName) -> Result<Bytes, ObjectError> {
        self.read(name.as_str(), || self.behind.get(name))
    }

    fn size(&self, name: &ObjectName) -> Result<u64, ObjectError> {
        self.read(name.as_str(), || self.behind.size(name))
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectEntry>, ObjectError> {
        self.read(prefix, || self.behind.list(prefix))
    }

    fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
        self.weather.delay();
        match self.weather.fate() {
            Fate::Done => return self.behind.delete(name),
            Fate::Lost => {}
            Fate::Unanswered => self.behind.delete(name)?,
            Fate::Late => {
                let behind = Arc::clone(&self.behind);
                self.weather.later(LateRequest::Delete(behind, name.clone()));
            }
        }
        Err(no_answer(name.as_str()))
    }

    fn read_ranges(
        &self,
        name: &ObjectName,
        ranges: &[Range<u64>],
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ObjectError>> {
        let (name, ranges) = (name.clone(), ranges.to_vec());
        Box::pin(async move {
            let mut in_vain = self.weather.stall();
            poll_fn(|context| match in_vain {
                0 => Poll::Ready(()),
                _ => {
                    in_vain -= 1;
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
            })
            .await;
            if self.weather.fails() {
                return Err(no_answer(name.as_str()));
            }
            self.behind.read_ranges(&name, &ranges).await
        })
    }
}

struct Upload {
    weather: Arc<Weather>,
    object: Box<dyn ObjectWrite + Send>,
    name: ObjectName,
}

impl ObjectWrite for Upload {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ObjectError> {
        if self.weather.fails() {
            return Err(no_answer(self.name.as_str()));
        }
        self.object.write(bytes)
    }

    fn finish(self: Box<Self>) -> Result<(), ObjectError> {
        let Self { weather, object, name } = *self;
        weather.delay();
        match weather.fate() {
            Fate::Done => return object.finish(),
            Fate::Lost => {}
            Fate::Unanswered => object.finish()?,
            Fate::Late => weather.later(LateRequest::Write(object)),
        }
        Err(no_answer(name.as_str()))
    }
}
