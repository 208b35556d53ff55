//! Actions: acknowledged, answered.

use super::Call;
use crate::answer::Answer;
use crate::problem::Problem;
use crate::state::Execution;

/// A repeated acknowledgement is fine; another one, or one after the result, is a conflict.
pub(super) fn ack(call: &Call) -> Result<Answer, Problem> {
    call.same_as_path("execution_id")?;
    with_execution(call, |execution| match &execution.ack {
        Some(known) if *known == call.body => Ok(()),
        None if execution.result.is_none() => {
            execution.ack = Some(call.body.clone());
            Ok(())
        }
        _ => Err(Problem::conflict(
            "already_acknowledged",
            "the execution has been acknowledged or answered",
        )),
    })
}

pub(super) fn result(call: &Call) -> Result<Answer, Problem> {
    call.same_as_path("execution_id")?;
    with_execution(call, |execution| match &execution.result {
        None => {
            execution.result = Some(call.body.clone());
            Ok(())
        }
        Some(_) => Err(Problem::conflict("already_answered", "the execution has its result")),
    })
}

fn with_execution(
    call: &Call,
    act: impl FnOnce(&mut Execution) -> Result<(), Problem>,
) -> Result<Answer, Problem> {
    let id = call.parameters.get("execution_id");
    let mut state = call.inner.state();
    let execution =
        state.executions.get_mut(id).filter(|execution| execution.node_id == call.node_id());
    let unknown =
        || Problem::not_found("unknown_execution", format!("there is no execution {id:?}"));
    act(execution.ok_or_else(unknown)?)?;
    Ok(call.done())
}
