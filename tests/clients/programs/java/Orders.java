/** An order service that is busy for some seconds; the agent profiles it. */
public class Orders {
    static double sink;

    static void priceOrders(long until) {
        while (System.nanoTime() < until) {
            for (int number = 0; number < 10_000; number++) {
                sink += number * 0.5;
            }
        }
    }

    public static void main(String[] words) throws Exception {
        priceOrders(System.nanoTime() + Long.parseLong(words[0]) * 1_000_000_000L);
        // The agent sends what it recorded in an interval after its end.
        Thread.sleep(4_000);
    }
}
