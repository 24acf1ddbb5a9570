use crate::args::StudyArgs;
use crate::exit::Failure;
pub(super) fn run(_args: &StudyArgs) -> Result<(), Failure> {
    Ok(())
}
