//! The HTTP floor: the same library and as many threads as plugbay has, and nothing behind them.

use actix_web::{App, HttpResponse, HttpServer, web};

pub(crate) fn serve() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    actix_web::rt::System::new().block_on(async {
        let server = HttpServer::new(|| App::new().route("/echo", web::post().to(echo)))
            .workers(threads)
            .bind("127.0.0.1:0")
            .unwrap();
        println!("{}", server.addrs()[0].port());
        server.run().await.unwrap();
    });
}

async fn echo(body: web::Bytes) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(body)
}
