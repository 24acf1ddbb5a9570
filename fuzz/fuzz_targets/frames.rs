//! The frame reader: arbitrary bytes, received as messages of known, bounded and exchanged lengths.

#![no_main]

use eqo_fuzz::{channel, frames, plant};
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: plant([vec![4, 1, 2, 3, 4, 5, 6, 7, 8], [&[3, 5, 200, 1][..], &frames(&[vec![1; 5], vec![2; 300]])].concat()]),
    |data: &[u8]| {
        let Some((&[count, calls @ ..], words)) = data.split_first_chunk::<4>() else { return };
        let mut channel = channel(words.to_vec());
        for call in calls.iter().cycle().take(usize::from(count) + 1) {
            let length = usize::from(*call);
            let ended = match call % 4 {
                0 => channel.recv(length).map(|message| assert_eq!(message.len(), length)).is_err(),
                1 => channel.recv_bounded(length).map(|message| assert!(message.len() <= length)).is_err(),
                2 => channel.exchange(vec![7; length]).map(|message| assert_eq!(message.len(), length)).is_err(),
                _ => channel.recv(length << 14).map(|message| assert_eq!(message.len(), length << 14)).is_err(),
            };
            if ended {
                return;
            }
        }
    }
);
