//! Signals as orders.

use std::io;

use futures_util::StreamExt as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_tokio::Signals;
use tokio::sync::mpsc;

use super::Order;

/// Turns signals into orders for as long as somebody takes them: SIGTERM and SIGINT stop, SIGHUP reloads.
///
/// Registered when called, so that a signal during start is not lost; the returned future passes them on.
///
/// # Errors
/// The system refuses the registration.
pub fn forward(orders: mpsc::Sender<Order>) -> io::Result<impl Future<Output = ()> + Send> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    Ok(async move {
        while let Some(signal) = signals.next().await {
            let order = if signal == SIGHUP { Order::Reload } else { Order::Stop };
            if orders.send(order).await.is_err() {
                return;
            }
        }
    })
}
