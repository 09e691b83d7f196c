//! Moments and lengths of time.

use std::time::Duration;

use jiff::Timestamp;

use super::Faults;

const NANOS: i32 = 1_000_000_000;

/// A moment, outwards.
pub fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    let (seconds, nanos) = (at.as_second(), at.subsec_nanosecond());
    // Before 1970 jiff counts the fraction downwards, protobuf always upwards.
    if nanos < 0 {
        prost_types::Timestamp { seconds: seconds - 1, nanos: nanos + NANOS }
    } else {
        prost_types::Timestamp { seconds, nanos }
    }
}

/// A moment, inwards, cut to the microseconds that are kept.
pub fn read_timestamp(
    faults: &mut Faults,
    field: &str,
    value: Option<prost_types::Timestamp>,
) -> Option<Timestamp> {
    let value = value?;
    let moment = (0..NANOS)
        .contains(&value.nanos)
        .then(|| Timestamp::new(value.seconds, value.nanos).ok())
        .flatten()
        .and_then(|at| Timestamp::from_microsecond(at.as_microsecond()).ok());
    if moment.is_none() {
        faults.add(field, "must be a moment from 0001-01-01T00:00:00Z to 9999-12-30T22:00:00Z");
    }
    moment
}

/// A length of time within bounds, inwards.
pub fn read_duration(
    faults: &mut Faults,
    field: &str,
    value: Option<prost_types::Duration>,
    (min, max): (Duration, Duration),
) -> Option<Duration> {
    let value = value?;
    let length = u64::try_from(value.seconds)
        .ok()
        .zip(u32::try_from(value.nanos).ok().filter(|n| *n < 1_000_000_000))
        .map(|(seconds, nanos)| Duration::new(seconds, nanos))
        .filter(|length| (min..=max).contains(length));
    if length.is_none() {
        faults.add(field, format!("must be {} s to {} s", min.as_secs(), max.as_secs()));
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(seconds: i64, nanos: i32) -> Option<Timestamp> {
        let mut faults = Faults::new();
        let value = prost_types::Timestamp { seconds, nanos };
        let read = read_timestamp(&mut faults, "start_time", Some(value));
        assert_eq!(read.is_none(), !faults.is_empty());
        read
    }

    #[test]
    fn moments_read_back() {
        for text in ["2026-11-29T01:00:00Z", "1969-12-31T23:59:59.25Z", "0001-01-01T00:00:00Z"] {
            let at: Timestamp = text.parse().unwrap();
            let wire = timestamp(at);
            assert!((0..NANOS).contains(&wire.nanos), "{text}");
            assert_eq!(read(wire.seconds, wire.nanos), Some(at));
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        assert_eq!(read(0, -1), None);
        assert_eq!(read(0, NANOS), None);
        assert_eq!(read(i64::MAX, 0), None);
        assert_eq!(read(i64::MIN, 0), None);
    }

    #[test]
    fn lengths_are_bounded() {
        let bounds = (Duration::from_secs(1), Duration::from_secs(3600));
        let read = |seconds, nanos| {
            let mut faults = Faults::new();
            let value = prost_types::Duration { seconds, nanos };
            read_duration(&mut faults, "heartbeat", Some(value), bounds)
        };
        assert_eq!(read(1, 0), Some(Duration::from_secs(1)));
        assert_eq!(read(3600, 0), Some(Duration::from_secs(3600)));
        for (seconds, nanos) in [(0, 999_999_999), (3600, 1), (-1, 0), (1, -1), (i64::MAX, 0)] {
            assert_eq!(read(seconds, nanos), None, "{seconds} {nanos}");
        }
    }
}
