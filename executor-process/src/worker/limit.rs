//! Errors of a size that every parent takes.

use executor_core::TaskError;

/// The most bytes of each text of an error. The parent takes errors of [`ERROR_BYTES`], however low its `frame_limit` is.
const TEXT_BYTES: usize = 64 * 1024;

/// The most bytes of a whole error: its few texts, and what else there is.
pub(crate) const ERROR_BYTES: usize = 256 * 1024;

/// The error, with its longest texts cut. A message of megabytes helps nobody, and must not cost a worker.
pub(super) fn shortened(mut error: TaskError) -> TaskError {
    let texts: [Option<&mut String>; 3] = match &mut error {
        TaskError::Panicked { message, location, backtrace, .. } => {
            [Some(message), Some(location), Some(backtrace)]
        }
        TaskError::Encode { what, message, .. } | TaskError::Decode { what, message, .. } => {
            [Some(what), Some(message), None]
        }
        TaskError::WorkerLost { reason, stderr_tail, .. } => [Some(reason), Some(stderr_tail), None],
        TaskError::NotPortable { reason, .. } | TaskError::Broken { reason, .. } => {
            [Some(reason), None, None]
        }
        _ => [None, None, None],
    };
    texts.into_iter().flatten().for_each(shorten);
    error
}

fn shorten(text: &mut String) {
    if text.len() > TEXT_BYTES {
        let len = text.len();
        text.truncate(text.floor_char_boundary(TEXT_BYTES));
        text.push_str(&format!(".. ({len} bytes)"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters_and_others_kept() {
        let error = TaskError::panicked("ä".repeat(TEXT_BYTES), "here", "x".repeat(TEXT_BYTES));
        match shortened(error) {
            TaskError::Panicked { message, location, backtrace, .. } => {
                assert!(message.starts_with("ää") && message.ends_with(".. (131072 bytes)"));
                assert!(message.len() < TEXT_BYTES + 100);
                assert_eq!((location.as_str(), backtrace.len()), ("here", TEXT_BYTES));
            }
            other => panic!("{other}"),
        }
    }
}
