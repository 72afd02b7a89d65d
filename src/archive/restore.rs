//! Restoring: logs come out of an archive as they went in, below one folder and nowhere else.

use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::read::{Opened, path_of};
use super::verify::block;
use crate::digest::Hasher;
use crate::fs::{NewFile, open_beneath};
use crate::model::Member;
use crate::model::archive::RawName;

/// What is added to the name of a log that did not come out whole.
const DAMAGED: &str = ".damaged";

/// What became of a log.
#[derive(Debug)]
pub struct Restored {
    /// Its name in the archive.
    pub name: RawName,
    /// Where it is now; none where it could not be written.
    pub path: Option<PathBuf>,
    /// What is wrong with it; nothing where it is what was packed.
    pub problems: Vec<String>,
}

/// Writes logs of an archive below a folder, with their times and permissions; as root, with their owners. A log of which parts are
/// damaged comes out without them, under another name. A file that is there already stays. `step` learns of each so many bytes.
///
/// # Errors
/// Fails where the archive can't be read at all.
pub fn restore(
    opened: &Opened,
    wanted: impl Fn(&Member) -> bool,
    to: &Path,
    step: &dyn Fn(u64),
) -> io::Result<Vec<Restored>> {
    let mut done = Vec::new();
    let members = opened.entry.members.iter().filter(|member| wanted(member));
    if opened.in_pieces() {
        for member in members {
            done.push(one(member, to, step, |output| by_blocks(opened, member, output)));
        }
        return Ok(done);
    }
    opened.each(&wanted, |member, text| {
        done.push(one(member, to, step, |output| {
            let copied = copy(text, output)?;
            Ok(copied.map(|error| error.to_string()).into_iter().collect())
        }));
        Ok::<(), io::Error>(())
    })?;
    Ok(done)
}

/// A log that is being written.
struct Output<'a> {
    file: &'a mut std::fs::File,
    hasher: &'a mut Hasher,
    step: &'a dyn Fn(u64),
}

impl Output<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        self.file.write_all(text)?;
        self.hasher.write_all(text)?;
        (self.step)(text.len() as u64);
        Ok(())
    }
}

fn one(
    member: &Member,
    to: &Path,
    step: &dyn Fn(u64),
    write: impl FnOnce(&mut Output<'_>) -> io::Result<Vec<String>>,
) -> Restored {
    let name = member.name.clone();
    match try_one(member, to, step, write) {
        Ok((path, problems)) => Restored { name, path: Some(path), problems },
        Err(error) => Restored { name, path: None, problems: vec![error.to_string()] },
    }
}

fn try_one(
    member: &Member,
    to: &Path,
    step: &dyn Fn(u64),
    write: impl FnOnce(&mut Output<'_>) -> io::Result<Vec<String>>,
) -> io::Result<(PathBuf, Vec<String>)> {
    let below = path_of(&member.name);
    let path = to.join(below);
    if let Ok((mut file, _)) = open_beneath(to, &path) {
        let mut there = Hasher::default();
        io::copy(&mut file, &mut there)?;
        step(member.size);
        let is_it = there.finish() == member.sha256;
        let problems = vec!["there is another file of that name".to_owned()];
        return Ok((path, if is_it { Vec::new() } else { problems }));
    }
    let mut new = NewFile::beneath(to, below)?;
    let mut hasher = Hasher::default();
    let mut output = Output { file: &mut new.file, hasher: &mut hasher, step };
    let mut problems = match write(&mut output).and_then(|problems| {
        describe(member, &new.file)?;
        Ok(problems)
    }) {
        Ok(problems) => problems,
        Err(error) => {
            new.discard()?;
            return Err(error);
        }
    };
    if problems.is_empty() && hasher.finish() != member.sha256 {
        problems.push("its text is not what was packed".to_owned());
    }
    let added = if problems.is_empty() { "" } else { DAMAGED };
    new.publish(added)?;
    let mut path = path.into_os_string();
    path.push(added);
    Ok((path.into(), problems))
}

fn by_blocks(opened: &Opened, member: &Member, output: &mut Output<'_>) -> io::Result<Vec<String>> {
    let mut problems = Vec::new();
    for index in 0..member.blocks.len() {
        match block(opened, member, index) {
            Ok(text) => output.write(&text)?,
            Err(problem) => problems.push(problem),
        }
    }
    Ok(problems)
}

/// Copies what can be read; an error of the archive's is given back, one of the file's is an error.
fn copy(from: &mut dyn Read, output: &mut Output<'_>) -> io::Result<Option<io::Error>> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(None),
            Ok(read) => output.write(&buffer[..read])?,
            Err(error) => return Ok(Some(error)),
        }
    }
}

/// Gives a file the owner, permissions and time of the log; never the right to run as somebody else.
fn describe(member: &Member, file: &std::fs::File) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        let (uid, gid) = (rustix::fs::Uid::from_raw(member.uid), rustix::fs::Gid::from_raw(member.gid));
        rustix::fs::fchown(file, Some(uid), Some(gid))?;
    }
    file.set_permissions(std::fs::Permissions::from_mode(member.mode & 0o777))?;
    let modified = u64::try_from(member.modified).unwrap_or(0);
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(modified))
}
