//! Seconds until an image folder can be used: decoded into memory, decoded into a cache, from the cache.
//!
//! `cargo run --release -p eqo-datasets --example cached_start -- FOLDER CACHE_FOLDER`

#![expect(clippy::print_stdout, reason = "the measurements are the result")]

use std::path::PathBuf;
use std::time::Instant;

use eqo_datasets::cache::CachePlace;
use eqo_datasets::folder::{self, FolderOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(root), Some(cache)) = (arguments.next(), arguments.next()) else {
        return Err("expected FOLDER CACHE_FOLDER".into());
    };
    let cache = CachePlace::Folder(cache);
    for (what, place) in
        [("cache, first time", &cache), ("cache, afterwards", &cache), ("into memory", &CachePlace::Off)]
    {
        let started = Instant::now();
        let (images, _) = folder::read_cached(&root, &FolderOptions::default(), place, &|_, _| ())?;
        let seconds = started.elapsed().as_secs_f64();
        // Private memory only: pages of the map belong to the file and are given back under pressure.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let private = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
        println!("{what:18} {seconds:7.2} s for {} images, private memory {}", images.len(), private.trim());
    }
    Ok(())
}
