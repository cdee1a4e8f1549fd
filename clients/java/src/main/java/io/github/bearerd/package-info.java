/**
 * Access tokens from bearerd, the token broker of this host.
 *
 * <p>{@link io.github.bearerd.Broker} is the connection to it, {@link io.github.bearerd.TokenClient} gives the tokens
 * of one client, {@link io.github.bearerd.TokenHttpClient} applies them to {@code java.net.http}. What happens is
 * logged to the {@link java.lang.System.Logger} {@code io.github.bearerd}, never with a token.
 */
package io.github.bearerd;
