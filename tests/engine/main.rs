//! The engine's behaviour over a real store, with a vendor that does what the test tells it.

#[cfg(test)]
mod flaky;
#[cfg(test)]
mod foreign;
#[cfg(test)]
mod house;
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod retries;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod watches;
