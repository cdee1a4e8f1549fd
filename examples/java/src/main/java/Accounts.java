import io.github.bearerd.Broker;
import io.github.bearerd.TokenHttpClient;
import java.net.URI;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;

/** Prints what the partner's API at $PARTNER_URL has for requestor 4711. */
public class Accounts {
    public static void main(String[] arguments) throws Exception {
        try (Broker broker = Broker.open()) {
            TokenHttpClient partner = broker.client("partner").http();
            HttpRequest request = HttpRequest.newBuilder(URI.create(System.getenv("PARTNER_URL") + "/api/accounts"))
                    .header("Requestor-ID", "4711")
                    .build();
            System.out.println(partner.send(request, BodyHandlers.ofString()).body());
        }
    }
}
